//! What the operator wants of the plugin, and the conflist entry that says it.

use std::path::Path;

use clap::{Args, builder::BoolishValueParser};
use serde_json::{Map, Value, json};
use sockway_common::scope;
use sockway_datapath::section::{ANNOTATIONS_CAPABILITY, PLUGIN_TYPE, Section};

/// Settings for the plugin's section. What is not given stays as the conflist has it.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Settings of the plugin")]
pub struct Settings {
    /// How far pods take part, unless their annotation sockway.io/scope says otherwise: auto, all, proxy, off
    #[arg(long, value_name = "SCOPE", env = "SOCKWAY_SCOPE", value_parser = scope_word)]
    pub scope: Option<String>,

    /// Envoy's outbound port [Istio's default: 15001]
    #[arg(long, value_name = "PORT", env = "SOCKWAY_ENVOY_OUTBOUND_PORT",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub envoy_outbound_port: Option<u16>,

    /// Envoy's inbound port [Istio's default: 15006]
    #[arg(long, value_name = "PORT", env = "SOCKWAY_ENVOY_INBOUND_PORT",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub envoy_inbound_port: Option<u16>,

    /// Namespaces whose pods are left alone (repeat it, or a comma list; an empty one clears the list)
    #[arg(long = "exclude-namespace", value_name = "NAMESPACE", env = "SOCKWAY_EXCLUDE_NAMESPACES",
          value_delimiter = ',', value_parser = namespace)]
    pub exclude_namespaces: Option<Vec<String>>,

    /// The only namespaces whose pods take part (repeat it, or a comma list; an empty one: all)
    #[arg(long = "only-namespace", value_name = "NAMESPACE", env = "SOCKWAY_ONLY_NAMESPACES",
          value_delimiter = ',', value_parser = namespace)]
    pub only_namespaces: Option<Vec<String>>,

    /// The share of pods that take part, chosen by their uids; who is in stays in as it grows [default: 100]
    #[arg(long, value_name = "N", env = "SOCKWAY_PERCENT",
          value_parser = clap::value_parser!(u8).range(0..=100))]
    pub percent: Option<u8>,

    /// How much the plugin logs: off, error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", env = "SOCKWAY_LOG_LEVEL", value_parser = log_level)]
    pub log_level: Option<String>,

    /// File the plugin logs to, an empty one for none [default: /var/log/sockway-cni.log]
    #[arg(long, value_name = "FILE", env = "SOCKWAY_LOG_FILE", value_parser = log_file)]
    pub log_file: Option<String>,

    /// Fail the creation of a pod that cannot be registered, instead of leaving it on plain TCP
    #[arg(long, value_name = "BOOL", env = "SOCKWAY_STRICT", num_args = 0..=1,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub strict: Option<bool>,
}

impl Settings {
    /// The conflist entry: `present`, where there is one, with what was given put over it.
    /// Values that are the plugin's defaults are left out.
    ///
    /// # Errors
    ///
    /// Keys and values, of `present` or given, that the plugin would not take, each by name.
    pub fn entry(&self, bpffs: &Path, present: Option<&Value>) -> Result<Value, String> {
        let default = Section::default();
        let mut entry = present
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        entry.insert("type".to_owned(), json!(PLUGIN_TYPE));
        let capabilities = entry.entry("capabilities").or_insert_with(|| json!({}));
        if let Some(map) = capabilities.as_object_mut() {
            map.entry(ANNOTATIONS_CAPABILITY).or_insert(json!(true));
        }
        self.put_ports(&mut entry, &default);
        put(
            &mut entry,
            "scope",
            self.scope.as_deref(),
            scope::name(default.scope),
        );
        put(
            &mut entry,
            "excludeNamespaces",
            list(self.exclude_namespaces.as_ref()).as_deref(),
            &default.exclude_namespaces,
        );
        put(
            &mut entry,
            "onlyNamespaces",
            list(self.only_namespaces.as_ref()).as_deref(),
            &default.only_namespaces,
        );
        put(
            &mut entry,
            "percent",
            self.percent.as_ref(),
            &default.percent,
        );
        let level = default.log_level.as_str().to_ascii_lowercase();
        put(&mut entry, "logLevel", self.log_level.as_deref(), &level);
        put(
            &mut entry,
            "logFile",
            self.log_file.as_deref(),
            &default.log_file,
        );
        put(
            &mut entry,
            "bpffs",
            Some(&*bpffs.to_string_lossy()),
            &default.bpffs,
        );
        put(&mut entry, "strict", self.strict.as_ref(), &default.strict);
        let entry = Value::Object(entry);
        check(&entry)?;
        Ok(entry)
    }

    fn put_ports(&self, entry: &mut Map<String, Value>, default: &Section) {
        let mut ports = match entry.get("envoyPorts") {
            Some(Value::Object(ports)) => ports.clone(),
            Some(_) => return,
            None => Map::new(),
        };
        let default = default.envoy_ports;
        put(
            &mut ports,
            "outbound",
            self.envoy_outbound_port.as_ref(),
            &default.outbound,
        );
        put(
            &mut ports,
            "inbound",
            self.envoy_inbound_port.as_ref(),
            &default.inbound,
        );
        if ports.is_empty() {
            entry.shift_remove("envoyPorts");
        } else {
            entry.insert("envoyPorts".to_owned(), Value::Object(ports));
        }
    }
}

/// Each name once.
fn list(given: Option<&Vec<String>>) -> Option<Vec<String>> {
    let mut names = given?.clone();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    Some(names)
}

/// Sets a key that was given; the default takes a different value out.
fn put<T>(entry: &mut Map<String, Value>, key: &str, given: Option<&T>, default: &T)
where
    T: serde::Serialize + PartialEq + ?Sized,
{
    match given {
        None => {}
        // Said already, be it the default: another's file is not written for looks.
        Some(value) if entry.get(key) == Some(&json!(value)) => {}
        Some(value) if value == default => {
            entry.shift_remove(key);
        }
        Some(value) => {
            entry.insert(key.to_owned(), json!(value));
        }
    }
}

fn check(section: &Value) -> Result<(), String> {
    Section::parse(section).map(|_| ()).map_err(|problems| {
        problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    })
}

/// A value parser that takes what the plugin takes for `key`.
fn word(key: &str, value: &Value, word: &str) -> Result<String, String> {
    Section::parse(&json!({ key: value })).map_err(|problems| {
        problems
            .first()
            .map_or_else(String::new, |p| format!("allowed: {}", p.allowed))
    })?;
    Ok(word.to_owned())
}

fn scope_word(text: &str) -> Result<String, String> {
    word("scope", &json!(text), text)
}

fn namespace(text: &str) -> Result<String, String> {
    let list = if text.is_empty() {
        json!([])
    } else {
        json!([text])
    };
    word("excludeNamespaces", &list, text)
}

fn log_level(text: &str) -> Result<String, String> {
    word("logLevel", &json!(text), text)
}

fn log_file(text: &str) -> Result<String, String> {
    word("logFile", &json!(text), text)
}

#[cfg(test)]
mod tests;

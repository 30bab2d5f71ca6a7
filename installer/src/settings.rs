//! What the operator wants of the plugin, and the conflist entry that says it.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use serde_json::{Map, Value, json};
use sockway_common::pod::{DEFAULT_INBOUND_PORT, DEFAULT_OUTBOUND_PORT};
use sockway_common::scope;
use sockway_datapath::pins::DEFAULT_ROOT;

use crate::conflist::PLUGIN_TYPE;

/// The capability under which containerd hands a pod's annotations to plugins.
pub const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// Settings for the plugin's section. What is not given stays as the conflist has it.
#[derive(Args, Clone, Debug, Default)]
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

    /// How much the plugin logs
    #[arg(long, value_name = "LEVEL", env = "SOCKWAY_LOG_LEVEL")]
    pub log_level: Option<LogLevel>,

    /// File the plugin logs to, beside standard error
    #[arg(long, value_name = "FILE", env = "SOCKWAY_LOG_FILE", value_parser = log_file)]
    pub log_file: Option<PathBuf>,

    /// Fail the creation of a pod that cannot be registered, instead of leaving it on plain TCP
    #[arg(long, value_name = "BOOL", env = "SOCKWAY_STRICT", num_args = 0..=1,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub strict: Option<bool>,
}

/// The plugin's log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the words say it")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Settings {
    /// The conflist entry: `present`, where there is one, with what was given put over it.
    /// Values that are the plugin's defaults are left out.
    pub fn entry(&self, bpffs: &Path, present: Option<&Value>) -> Value {
        let mut entry = present.and_then(Value::as_object).cloned().unwrap_or_default();
        entry.insert("type".to_owned(), json!(PLUGIN_TYPE));
        let capabilities = entry.entry("capabilities").or_insert_with(|| json!({}));
        if let Some(map) = capabilities.as_object_mut() {
            map.entry(ANNOTATIONS).or_insert(json!(true));
        }
        self.put_ports(&mut entry);
        let scope = self.scope.as_ref();
        put(&mut entry, "scope", scope, &scope::name(scope::AUTO).to_owned());
        put(&mut entry, "excludeNamespaces", self.exclusions().as_ref(), &Vec::new());
        let level = self.log_level.map(|l| format!("{l:?}").to_lowercase());
        put(&mut entry, "logLevel", level.as_ref(), &"info".to_owned());
        put(&mut entry, "logFile", self.log_file.as_ref(), &PathBuf::new());
        put(&mut entry, "bpffs", Some(&bpffs), &Path::new(DEFAULT_ROOT));
        put(&mut entry, "strict", self.strict.as_ref(), &false);
        Value::Object(entry)
    }

    fn exclusions(&self) -> Option<Vec<&str>> {
        let given = self.exclude_namespaces.as_ref()?;
        let mut names: Vec<&str> =
            given.iter().map(String::as_str).filter(|n| !n.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    fn put_ports(&self, entry: &mut Map<String, Value>) {
        let mut ports =
            entry.get("envoyPorts").and_then(Value::as_object).cloned().unwrap_or_default();
        put(&mut ports, "outbound", self.envoy_outbound_port.as_ref(), &DEFAULT_OUTBOUND_PORT);
        put(&mut ports, "inbound", self.envoy_inbound_port.as_ref(), &DEFAULT_INBOUND_PORT);
        let given = self.envoy_outbound_port.is_some() || self.envoy_inbound_port.is_some();
        if !ports.is_empty() {
            entry.insert("envoyPorts".to_owned(), Value::Object(ports));
        } else if given {
            entry.shift_remove("envoyPorts");
        }
    }
}

/// Sets a key that was given; the default takes it out.
fn put<T: serde::Serialize + PartialEq>(
    entry: &mut Map<String, Value>,
    key: &str,
    given: Option<&T>,
    default: &T,
) {
    match given {
        None => {}
        Some(value) if value == default => {
            entry.shift_remove(key);
        }
        Some(value) => {
            entry.insert(key.to_owned(), json!(value));
        }
    }
}

fn scope_word(word: &str) -> Result<String, String> {
    match scope::parse(word) {
        Some(_) => Ok(word.to_owned()),
        None => Err(format!("one of {}", scope::WORDS)),
    }
}

fn namespace(word: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ends = !word.starts_with('-') && !word.ends_with('-');
    if word.len() <= 63 && ends && word.bytes().all(fits) {
        Ok(word.to_owned())
    } else {
        Err("a Kubernetes namespace: at most 63 lower-case letters, digits and '-'".to_owned())
    }
}

fn log_file(word: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(word);
    if path.is_absolute() { Ok(path) } else { Err("an absolute path".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::{LogLevel, Settings, namespace};
    use serde_json::json;
    use std::path::Path;

    const ROOT: &str = "/sys/fs/bpf/sockway";

    #[test]
    fn defaults_are_left_out() {
        let plain = json!({
            "type": "sockway-cni",
            "capabilities": { "io.kubernetes.cri.pod-annotations": true },
        });
        assert_eq!(Settings::default().entry(Path::new(ROOT), None), plain);
        let defaults = Settings {
            scope: Some("auto".to_owned()),
            envoy_outbound_port: Some(15001),
            envoy_inbound_port: Some(15006),
            exclude_namespaces: Some(vec![String::new()]),
            log_level: Some(LogLevel::Info),
            log_file: None,
            strict: Some(false),
        };
        assert_eq!(defaults.entry(Path::new(ROOT), None), plain);
    }

    #[test]
    fn what_is_given_is_set() {
        let given = Settings {
            scope: Some("proxy".to_owned()),
            envoy_outbound_port: Some(1),
            exclude_namespaces: Some(vec!["b".to_owned(), "a".to_owned(), "b".to_owned()]),
            log_file: Some("/var/log/s.log".into()),
            strict: Some(true),
            ..Settings::default()
        };
        let entry = given.entry(Path::new("/tmp/bpf"), None);
        assert_eq!(
            entry,
            json!({
                "type": "sockway-cni",
                "capabilities": { "io.kubernetes.cri.pod-annotations": true },
                "envoyPorts": { "outbound": 1 },
                "scope": "proxy",
                "excludeNamespaces": ["a", "b"],
                "logFile": "/var/log/s.log",
                "bpffs": "/tmp/bpf",
                "strict": true,
            })
        );
    }

    #[test]
    fn what_is_not_given_stays_and_defaults_take_keys_out() {
        let present = json!({
            "type": "sockway-cni",
            "scope": "off",
            "logLevel": "debug",
            "envoyPorts": { "outbound": 9, "inbound": 8 },
            "capabilities": { "bandwidth": true },
        });
        let given = Settings {
            scope: Some("auto".to_owned()),
            envoy_outbound_port: Some(15001),
            ..Settings::default()
        };
        assert_eq!(
            given.entry(Path::new(ROOT), Some(&present)),
            json!({
                "type": "sockway-cni",
                "logLevel": "debug",
                "envoyPorts": { "inbound": 8 },
                "capabilities": { "bandwidth": true, "io.kubernetes.cri.pod-annotations": true },
            })
        );
        let untouched = Settings::default().entry(Path::new(ROOT), Some(&present));
        assert_eq!(untouched["envoyPorts"], present["envoyPorts"]);
        assert_eq!(untouched["scope"], "off");
    }

    #[test]
    fn namespaces_are_checked() {
        assert!(namespace("kube-system").is_ok());
        for bad in ["Kube", "-a", "a-", "a.b", "a b"] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
    }
}

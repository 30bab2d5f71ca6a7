//! From JSON to a [`Section`].

use std::path::{Component, Path};

use serde_json::Value;
use sockway_common::scope;

use super::{EnvoyPorts, OWN_KEYS, Problem, Section};

/// A Kubernetes namespace is a DNS label.
const MAX_NAMESPACE: usize = 63;
/// `PATH_MAX` less the terminating NUL, bytes.
const MAX_PATH: usize = 4095;

const PORT: &str = "a port number from 1 to 65535";
const LEVELS: &str = "off, error, warn, info, debug, trace";

/// Collects problems while it reads.
struct Reader {
    problems: Vec<Problem>,
}

pub(super) fn section(value: &Value) -> (Section, Vec<Problem>) {
    let mut section = Section::default();
    let mut reader = Reader {
        problems: Vec::new(),
    };
    let Some(keys) = value.as_object() else {
        reader.wrong("section", value, "a JSON object");
        return (section, reader.problems);
    };
    for (key, value) in keys {
        reader.key(&mut section, key, value);
    }
    (section, reader.problems)
}

impl Reader {
    fn key(&mut self, section: &mut Section, key: &str, value: &Value) {
        let Section {
            envoy_ports,
            scope,
            exclude_namespaces,
            only_namespaces,
            percent,
            log_level,
            log_file,
            bpffs,
            strict,
        } = section;
        match key {
            "envoyPorts" => self.ports(envoy_ports, value),
            "scope" => match value.as_str().and_then(scope::parse) {
                Some(read) => *scope = read,
                None => self.wrong(key, value, scope::WORDS),
            },
            "excludeNamespaces" => self.namespaces(key, exclude_namespaces, value),
            "onlyNamespaces" => self.namespaces(key, only_namespaces, value),
            "percent" => match value.as_u64().and_then(|n| u8::try_from(n).ok()) {
                Some(read) if read <= 100 => *percent = read,
                _ => self.wrong(key, value, "a whole number from 0 to 100"),
            },
            "logLevel" => match value.as_str().and_then(level) {
                Some(read) => *log_level = read,
                None => self.wrong(key, value, LEVELS),
            },
            "logFile" => match value.as_str() {
                Some(path) if path.is_empty() || absolute(path) => path.clone_into(log_file),
                _ => self.wrong(key, value, "an absolute path, or \"\" for none"),
            },
            "bpffs" => match value.as_str() {
                Some(path) if absolute(path) => path.clone_into(bpffs),
                _ => self.wrong(key, value, "an absolute path without .. in it"),
            },
            "strict" => match value.as_bool() {
                Some(read) => *strict = read,
                None => self.wrong(key, value, "true, false"),
            },
            _ if Section::is_cni_key(key) => {}
            _ => self.problems.push(Problem::unknown(key, value, &OWN_KEYS)),
        }
    }

    fn ports(&mut self, ports: &mut EnvoyPorts, value: &Value) {
        let Some(keys) = value.as_object() else {
            return self.wrong("envoyPorts", value, "an object with outbound and inbound");
        };
        let mut read = *ports;
        let before = self.problems.len();
        for (key, value) in keys {
            let place = match key.as_str() {
                "outbound" => &mut read.outbound,
                "inbound" => &mut read.inbound,
                _ => {
                    let key = format!("envoyPorts.{key}");
                    self.problems
                        .push(Problem::unknown(&key, value, &["outbound", "inbound"]));
                    continue;
                }
            };
            match port(value) {
                Some(port) => *place = port,
                None => self.wrong(&format!("envoyPorts.{key}"), value, PORT),
            }
        }
        if read.outbound == read.inbound && self.problems.len() == before {
            self.wrong(
                "envoyPorts",
                value,
                "two different ports (defaults 15001 and 15006)",
            );
        }
        if self.problems.len() == before {
            *ports = read;
        }
    }

    fn namespaces(&mut self, key: &str, namespaces: &mut Vec<String>, value: &Value) {
        const LABEL: &str = "a list of namespace names (a-z, 0-9 and -, at most 63 characters)";
        let Some(list) = value.as_array() else {
            return self.wrong(key, value, LABEL);
        };
        for value in list {
            match value.as_str() {
                Some(name) if namespace(name) => namespaces.push(name.to_owned()),
                _ => self.wrong(key, value, LABEL),
            }
        }
    }

    fn wrong(&mut self, key: &str, value: &Value, allowed: &str) {
        self.problems.push(Problem::wrong(key, value, allowed));
    }
}

fn port(value: &Value) -> Option<u16> {
    value
        .as_u64()
        .and_then(|n| u16::try_from(n).ok())
        .filter(|&port| port != 0)
}

fn level(word: &str) -> Option<log::LevelFilter> {
    // By `FromStr` any case would do; the conflist spells one.
    let lower = word.bytes().all(|b| b.is_ascii_lowercase());
    word.parse().ok().filter(|_| lower)
}

fn absolute(path: &str) -> bool {
    let parents = Path::new(path)
        .components()
        .any(|c| c == Component::ParentDir);
    path.starts_with('/')
        && path.len() <= MAX_PATH
        && !parents
        && !path.chars().any(char::is_control)
}

fn namespace(name: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b != b'-');
    (1..=MAX_NAMESPACE).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && edge(name.bytes().next())
        && edge(name.bytes().last())
}

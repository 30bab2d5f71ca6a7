//! The plugin's own section of a conflist: what the installer writes and
//! checks, and the plugin reads. Here, so that neither depends on the other.
//!
//! Nothing is guessed: an unknown key or a wrong value is a [`Problem`] that
//! names the key, the value and what is allowed.

mod problem;
mod read;

use serde::{Serialize, Serializer};
use serde_json::Value;
use sockway_common::pod::{DEFAULT_INBOUND_PORT, DEFAULT_OUTBOUND_PORT};
use sockway_common::scope;

use crate::pins::DEFAULT_ROOT;

pub use problem::Problem;

/// `type` of the section: the plugin's file name.
pub const PLUGIN_TYPE: &str = "sockway-cni";
/// Capability by which the runtime hands the pod's annotations over; the
/// section must declare it under `capabilities`.
pub const ANNOTATIONS_CAPABILITY: &str = "io.kubernetes.cri.pod-annotations";
/// Default of [`Section::log_file`].
pub const DEFAULT_LOG_FILE: &str = "/var/log/sockway-cni.log";

/// The section's own keys; CNI's keys beside them are [`CNI_KEYS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Section {
    /// Where Envoy listens in every pod.
    pub envoy_ports: EnvoyPorts,
    /// How far pods take part that do not say so themselves: one of [`scope`].
    #[serde(serialize_with = "scope_word")]
    pub scope: u32,
    /// Kubernetes namespaces whose pods are left alone, whatever they say.
    pub exclude_namespaces: Vec<String>,
    /// The only Kubernetes namespaces whose pods take part; empty for all.
    pub only_namespaces: Vec<String>,
    /// The share of pods that take part, per cent.
    pub percent: u8,
    /// How much is logged.
    #[serde(serialize_with = "level_word")]
    pub log_level: log::LevelFilter,
    /// Absolute path of the log file; empty for none (standard error only).
    pub log_file: String,
    /// Directory in bpffs under which the maps are pinned; absolute.
    pub bpffs: String,
    /// Fail a pod that cannot be registered, where the default is to warn.
    pub strict: bool,
}

/// Envoy's ports, host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyPorts {
    /// Where a pod's own connections are redirected to.
    pub outbound: u16,
    /// Where connections to the pod are redirected to.
    pub inbound: u16,
}

/// Names of the section's own keys.
pub const OWN_KEYS: [&str; 9] = [
    "envoyPorts",
    "scope",
    "excludeNamespaces",
    "onlyNamespaces",
    "percent",
    "logLevel",
    "logFile",
    "bpffs",
    "strict",
];

/// Keys that CNI defines for any plugin: never ours to judge. Keys that start
/// with `cni.dev/` belong to CNI too.
pub const CNI_KEYS: [&str; 14] = [
    "args",
    "capabilities",
    "cniVersion",
    "cniVersions",
    "disableCheck",
    "disableGC",
    "dns",
    "ipMasq",
    "ipam",
    "loadOnlyInlinedPlugins",
    "name",
    "prevResult",
    "runtimeConfig",
    "type",
];

impl Default for Section {
    fn default() -> Self {
        Self {
            // Istio's ports, the same in every release.
            envoy_ports: EnvoyPorts {
                outbound: DEFAULT_OUTBOUND_PORT,
                inbound: DEFAULT_INBOUND_PORT,
            },
            // Only what an application cannot tell from TCP.
            scope: scope::AUTO,
            exclude_namespaces: Vec::new(),
            // Stages of a roll-out are asked for.
            only_namespaces: Vec::new(),
            percent: 100,
            // One line for each call.
            log_level: log::LevelFilter::Info,
            // Bounded by rotation to two files of 4 MiB.
            log_file: DEFAULT_LOG_FILE.to_owned(),
            bpffs: DEFAULT_ROOT.to_owned(),
            // A pod is worth more than its acceleration.
            strict: false,
        }
    }
}

impl Section {
    /// Reads a section.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn parse(section: &Value) -> Result<Self, Vec<Problem>> {
        let (section, problems) = Self::parse_lenient(section);
        if problems.is_empty() {
            Ok(section)
        } else {
            Err(problems)
        }
    }

    /// Reads what can be read, with defaults for the rest, and says what could
    /// not: a plugin that must go on needs to know where to log and whether
    /// `strict` was set.
    pub fn parse_lenient(section: &Value) -> (Self, Vec<Problem>) {
        read::section(section)
    }

    /// Whether a key of the section belongs to CNI.
    pub fn is_cni_key(key: &str) -> bool {
        CNI_KEYS.contains(&key) || key.starts_with("cni.dev/")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn scope_word<S: Serializer>(value: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(scope::name(*value))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn level_word<S: Serializer>(value: &log::LevelFilter, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.as_str().to_ascii_lowercase())
}

#[cfg(test)]
mod tests;

//! Whose network a file of the configuration directory is.

use std::path::Path;

use serde_json::Value;

use crate::cni::conflist::{Conflist, Problem};

/// What a file is to the pods of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The list that pods get their interface from, or a file that says what is wrong with it.
    Cluster {
        /// The list's name.
        name: String,
    },
    /// A plugin that has others called, with a copy of their list in it.
    Copy {
        /// The copied list's name.
        name: String,
    },
    /// A plugin that has those of another file called.
    Reference {
        /// That file's name, or the name of its list; empty where it does not say.
        to: String,
    },
    /// A second network of pods, which has no part of a mesh: storage, SR-IOV and the like.
    Secondary {
        /// The list's name.
        name: String,
    },
    /// What other software brings along for itself, or for a node without a cluster.
    Foreign {
        /// Whose it is.
        of: &'static str,
        /// Whether it is nobody's but that software's, also where there is no other.
        never: bool,
    },
    /// No pod's network: loopback.
    None,
    /// A list under a name by which runtimes take no list.
    Misnamed,
    /// What no runtime can load.
    Broken(Problem),
}

/// `type`s whose interfaces are a pod's second ones.
const SECONDARY: [&str; 10] = [
    "accelerated-bridge",
    "dummy",
    "host-device",
    "ib-sriov",
    "ipoib",
    "ipvlan",
    "macvlan",
    "sriov",
    "tap",
    "vlan",
];

/// What a file is, by its name and text.
pub(super) fn of(name: &str, text: &str) -> Role {
    let whole: Value = serde_json::from_str(text).unwrap_or_default();
    let listed = whole["plugins"].is_array();
    if listed && Path::new(name).extension().is_none_or(|e| e != "conflist") {
        return Role::Misnamed;
    }
    if let Some((of, never)) = foreign(&whole) {
        return Role::Foreign { of, never };
    }
    match Conflist::parse(text) {
        Ok(list) if list.embedded => Role::Copy { name: list.name },
        Ok(list) => {
            let main = list.main_plugin().ok().map(|at| &*list.plugins[at].kind);
            match main {
                Some("loopback") => Role::None,
                Some(kind) if SECONDARY.contains(&kind) => Role::Secondary { name: list.name },
                _ => Role::Cluster { name: list.name },
            }
        }
        Err(Problem::Elsewhere(_)) => Role::Reference {
            to: reference(&whole),
        },
        Err(Problem::SinglePlugin(kind)) if kind == "loopback" => Role::None,
        Err(Problem::SinglePlugin(kind)) if SECONDARY.contains(&&*kind) => Role::Secondary {
            name: text_of(&whole["name"]),
        },
        // It names a cluster's plugin; that it cannot be chained is said where it is tried.
        Err(Problem::SinglePlugin(_) | Problem::NoMainPlugin) => Role::Cluster {
            name: text_of(&whole["name"]),
        },
        Err(problem) => Role::Broken(problem),
    }
}

/// Lists that come with other software, by the names and bridges that it gives them.
fn foreign(whole: &Value) -> Option<(&'static str, bool)> {
    let name = whole["name"].as_str().unwrap_or_default();
    let plugins = whole["plugins"].as_array().into_iter().flatten();
    let bridges: Vec<&str> = plugins
        .chain([whole])
        .filter_map(|plugin| plugin["bridge"].as_str())
        .collect();
    let bridge = |prefix: &str| bridges.iter().any(|b| b.starts_with(prefix));
    if name == "podman" || bridge("cni-podman") || bridge("podman") {
        Some(("podman", true))
    } else if whole.get("nerdctlID").is_some() || name == "nerdctl" || bridge("nerdctl") {
        Some(("nerdctl", true))
    } else if name == "buildkit" || bridge("buildkit") {
        Some(("BuildKit", true))
    } else if matches!(name, "crio" | "crio-bridge" | "crio-ipv4-bridge") {
        Some(("CRI-O", false))
    } else if name == "containerd-net" {
        Some(("containerd's example", false))
    } else {
        None
    }
}

/// What multus calls the cluster's network.
fn reference(whole: &Value) -> String {
    let plugins = whole["plugins"].as_array().into_iter().flatten();
    let mut all = plugins.chain([whole]);
    let found = all.find_map(|plugin| plugin["clusterNetwork"].as_str());
    found.unwrap_or_default().to_owned()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

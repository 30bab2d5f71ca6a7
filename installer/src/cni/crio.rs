//! What CRI-O's configuration says of the network: it may choose a list by the list's name, where other
//! runtimes take the first file.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where CRI-O's configuration is; the rest is under `crio.conf.d`, in the order of the names.
pub const CRIO_DIR: &str = "/etc/crio";

/// What CRI-O was told; nothing where there is no CRI-O.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crio {
    /// `cni_default_network`: the `name` of the list that pods get.
    pub network: Option<String>,
    /// `network_dir`: where it looks for lists.
    pub network_dir: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    crio: Section,
}

#[derive(Default, Deserialize)]
struct Section {
    #[serde(default)]
    network: Network,
}

#[derive(Default, Deserialize)]
struct Network {
    cni_default_network: Option<String>,
    network_dir: Option<PathBuf>,
}

impl Crio {
    /// Reads `crio.conf` and what is in `crio.conf.d`; a later file goes over an earlier one.
    pub fn read(directory: &Path) -> Self {
        let mut parts: Vec<PathBuf> = fs::read_dir(directory.join("crio.conf.d"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        parts.sort();
        parts.insert(0, directory.join("crio.conf"));
        let mut found = Self::default();
        for path in parts {
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            match toml::from_str::<File>(&text) {
                Ok(File {
                    crio: Section { network },
                }) => {
                    let name = network.cni_default_network;
                    found.network = name.filter(|n| !n.is_empty()).or(found.network);
                    found.network_dir = network.network_dir.or(found.network_dir);
                }
                Err(e) => log::debug!("{} is not CRI-O's: {e}", path.display()),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::Crio;
    use std::fs;

    #[test]
    fn later_files_go_over_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Crio::read(dir.path()), Crio::default());
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write(
            "crio.conf",
            "[crio]\nroot = \"/x\"\n[crio.network]\ncni_default_network = \"a\"\nnetwork_dir = \"/etc/cni/net.d/\"\n",
        );
        fs::create_dir(dir.path().join("crio.conf.d")).unwrap();
        write(
            "crio.conf.d/20-b.conf",
            "[crio.network]\ncni_default_network = 'b' # chosen\n",
        );
        write(
            "crio.conf.d/10-c.conf",
            "[crio.network]\ncni_default_network = \"c\"\n",
        );
        write("crio.conf.d/30-junk.conf", "not [ toml");
        write(
            "crio.conf.d/40-empty.conf",
            "[crio.network]\ncni_default_network = \"\"\n",
        );
        let crio = Crio::read(dir.path());
        assert_eq!(crio.network.as_deref(), Some("b"));
        assert_eq!(crio.network_dir.unwrap().to_str(), Some("/etc/cni/net.d/"));
    }
}

//! Where a cluster keeps its files on the machine, and its fixed addresses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The node's name in the cluster, and its host name.
pub(crate) const NODE: &str = "node1";
/// The node's address, on a bridge that leads nowhere.
pub(crate) const NODE_IP: &str = "10.123.0.2";
/// Where its default route points to: nobody is there.
pub(crate) const GATEWAY: &str = "10.123.0.1";
/// Addresses of pods.
pub(crate) const POD_CIDR: &str = "10.124.0.0/22";
/// Addresses of Services.
pub(crate) const SERVICE_CIDR: &str = "10.96.0.0/16";
/// `CoreDNS`.
pub(crate) const DNS_IP: &str = "10.96.0.10";
/// The part of each cgroup hierarchy that is the cluster's.
pub(crate) const CGROUP: &str = "sockway-cluster";

/// The directory of a cluster; the same path inside the node and outside.
#[derive(Clone, Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// `target/cluster` below the directory in which it is started.
    pub(crate) fn here() -> Result<Self> {
        let dir = std::env::current_dir().context("no current directory")?;
        Ok(Self(dir.join("target/cluster")))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    /// The log of a part.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.0.join("log").join(format!("{name}.log"))
    }

    /// Writes a file, with the directories above it.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(&self.0);
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

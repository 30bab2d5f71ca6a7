//! The node: directories of a runtime's, with Sockway installed into them, and
//! what is registered.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sockway_common::pod::{OwnerKey, SandboxRow};
use sockway_datapath::{Pins, Registry};
use sockway_testkit::bpffs;
use sockway_testkit::command::{Run, ip};
use sockway_testkit::place::directories;
use sockway_testkit::rows::{self, Row};

use crate::roles;
use crate::tools::Tools;
use crate::world::{DIR, World};

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) tools: Tools,
    pub(crate) cgroup: PathBuf,
    dir: PathBuf,
}

impl Node {
    /// Makes the directories and puts the plugins into theirs; nothing of Sockway yet.
    pub(crate) fn new(world: &World, tools: &Tools) -> Result<Self> {
        let node = Self {
            tools: tools.clone(),
            cgroup: world.cgroup.clone(),
            dir: DIR.into(),
        };
        for sub in ["bin", "net.d", "cases"] {
            let path = node.path(sub);
            fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        }
        let bin = node.path("bin");
        for entry in fs::read_dir(&tools.reference).context("list the reference plugins")? {
            let entry = entry?;
            symlink(entry.path(), bin.join(entry.file_name())).context("link a plugin")?;
        }
        for name in roles::PLUGINS {
            symlink(&tools.this, bin.join(name)).context("link a plugin")?;
        }
        ip("link set lo up")?;
        Ok(node)
    }

    /// A path in the run's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The directory that `sockway --bpffs` gets.
    pub(crate) fn bpffs(&self) -> PathBuf {
        self.path("bpf/sockway")
    }

    pub(crate) fn pins(&self) -> Pins {
        Pins::new(self.bpffs())
    }

    /// `sockway` with this node's directories.
    pub(crate) fn sockway(&self, args: &[&str]) -> Run {
        let log = self.path("sockway-cni.log");
        let directories = directories(&self.dir, &self.cgroup, &log);
        directories
            .into_iter()
            .fold(Run::new(&self.tools.sockway), |run, (name, value)| {
                run.env(name, value)
            })
            .args(args)
    }

    /// Puts a conflist where the runtime looks, then Sockway in.
    pub(crate) fn install(&self, name: &str, conflist: &Value) -> Result<()> {
        self.replace(name, conflist)?;
        self.sockway(&["install"]).done()
    }

    /// Replaces a conflist where the runtime looks, by rename.
    pub(crate) fn replace(&self, name: &str, conflist: &Value) -> Result<()> {
        let path = self.path("net.d").join(name);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_string_pretty(conflist)?)
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("write {}", path.display()))
    }

    /// The conflist as it is now.
    pub(crate) fn conflist(&self, name: &str) -> Result<Value> {
        let path = self.path("net.d").join(name);
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
    }

    /// Our entry of a chain that a test writes itself.
    pub(crate) fn section(&self, log: &Path) -> Value {
        json!({
            "type": "sockway-cni",
            "capabilities": { "io.kubernetes.cri.pod-annotations": true },
            "bpffs": self.bpffs(),
            "logFile": log,
        })
    }

    /// Everything that is registered, in ascending order.
    pub(crate) fn rows(&self) -> Result<Vec<Row>> {
        rows::list(&self.pins())
    }

    /// The attachment's row.
    pub(crate) fn sandbox(&self, container: &str, ifname: &str) -> Result<Option<SandboxRow>> {
        let registry = Registry::open(&self.pins())?;
        Ok(registry.sandbox(&OwnerKey::new(container, ifname))?)
    }

    /// An error if exactly these addresses are not registered for a container.
    pub(crate) fn expect_rows(&self, container: &str, ips: &[IpAddr]) -> Result<()> {
        let mut expected: Vec<_> = ips.iter().map(|ip| (*ip, container)).collect();
        expected.sort_unstable();
        let rows = self.rows()?;
        let mut found: Vec<_> = rows
            .iter()
            .map(|row| (row.ip, row.container.as_str()))
            .collect();
        found.sort_unstable();
        if found != expected {
            bail!("registered: {found:?}; expected: {expected:?}");
        }
        Ok(())
    }

    /// An error if anything at all is in the maps.
    pub(crate) fn expect_nothing(&self) -> Result<()> {
        let registry = Registry::open(&self.pins())?;
        let (pods, sandboxes) = (registry.pods()?.len(), registry.sandboxes()?.len());
        if (pods, sandboxes) != (0, 0) {
            let rows: Vec<_> = self.rows()?.iter().map(Row::to_string).collect();
            bail!(
                "{pods} addresses and {sandboxes} attachments left: {}",
                rows.join(", ")
            );
        }
        Ok(())
    }

    /// What stands in for a reboot: everything pinned is gone, cached results are not.
    pub(crate) fn forget_maps(&self) -> Result<()> {
        self.unmount_bpffs()?;
        self.mount_bpffs()
    }

    pub(crate) fn unmount_bpffs(&self) -> Result<()> {
        bpffs::unmount(&self.path("bpf"))
    }

    pub(crate) fn mount_bpffs(&self) -> Result<()> {
        bpffs::mount_at(&self.path("bpf"), "bpf")
    }

    /// Empties the maps, so that one case's fault is not the next one's.
    pub(crate) fn purge(&self) -> Result<()> {
        Registry::open(&self.pins())?.retain(|_, _| false)?;
        Ok(())
    }
}

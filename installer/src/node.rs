//! Bringing a node into the state in which pods are registered and connections joined.
//!
//! The order makes every moment safe to be killed in: first everything is
//! checked, then come the programs (which do nothing without registered pods),
//! then the plugin's binary (which nobody calls yet), and last the conflist,
//! from which the runtime starts to call it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use sockway_datapath::{Datapath, InstallOptions, Pins, host};

use crate::cgroup::{self, Choice};
use crate::conflists::{self, Outcome};
use crate::files::{self, Written};
use crate::options::{CgroupArgs, CniArgs, RunDirArgs};
use crate::plugin;
use crate::settings::Settings;
use crate::undo::Undo;

/// What is wanted on the node.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The plugin's and the conflist's places.
    pub cni: CniArgs,
    /// Where to attach.
    pub cgroup: CgroupArgs,
    /// For the private cgroup2 mount.
    pub run_dir: RunDirArgs,
    /// Where to pin.
    pub pins: Pins,
    /// The plugin's settings.
    pub settings: Settings,
    /// The plugin to copy; beside the running executable where none is given.
    pub plugin: Option<PathBuf>,
    /// Redirected bytes that may wait at a reader.
    pub backlog_limit: u32,
    /// Whether to go on where a check says that it may not do what is hoped for.
    pub force: bool,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where the programs are attached.
    pub cgroup: PathBuf,
    /// Whether that was mounted for it.
    pub mounted: bool,
    /// Whether programs of an earlier install were replaced in place.
    pub replaced: bool,
    /// What works with less on this kernel.
    pub limits: Vec<&'static str>,
    /// The plugin's binary.
    pub plugin: PathBuf,
    /// Whether it was written.
    pub plugin_written: Written,
    /// The conflists, the one in effect first.
    pub conflists: Vec<Outcome>,
}

/// What [`check`] found.
#[derive(Clone, Debug)]
pub struct Checked {
    plugin: PathBuf,
    versions: Vec<String>,
    cgroup: Choice,
}

impl Wanted {
    /// Checks everything that can be checked without changing anything.
    ///
    /// # Errors
    ///
    /// What keeps the node from being installed on, with the remedy.
    pub fn check(&self) -> Result<Checked> {
        require_root()?;
        ensure!(
            !Datapath::EMBEDDED_IS_STUB,
            "this build holds no eBPF programs (it is one for checks only): build with `make build`"
        );
        host::require_bpffs(self.pins.root())?;
        let cgroup = cgroup::choose(&self.cgroup, &self.run_dir, self.force)?;
        let plugin = plugin::find(self.plugin.as_deref())?;
        let directory = &self.cni.cni_bin_dir;
        ensure!(
            directory.is_dir(),
            "{} is not a directory: name the runtime's plugin directory with --cni-bin-dir",
            directory.display()
        );
        let changes = conflists::plan(&self.cni, &self.settings, self.pins.root())?;
        let versions: Vec<String> = changes.into_iter().map(|change| change.version).collect();
        for version in &versions {
            plugin::probe(&plugin, version)?;
        }
        Ok(Checked {
            plugin,
            versions,
            cgroup,
        })
    }

    /// Makes the node as wanted. May be run again at any time, also after having been killed.
    ///
    /// # Errors
    ///
    /// The step that failed. What this run did before it is taken back.
    pub fn install(&self, checked: &Checked) -> Result<Report> {
        let _lock = files::lock_directory(&self.cni.cni_conf_dir, files::LOCK_WAIT)?;
        let mut undo = Undo::default();
        let done = self.steps(checked, &mut undo);
        if done.is_err() {
            undo.roll_back();
        }
        done
    }

    fn steps(&self, checked: &Checked, undo: &mut Undo) -> Result<Report> {
        let cgroup = checked.cgroup.path().to_owned();
        let mounted = matches!(checked.cgroup, Choice::Mount(_));
        if mounted {
            host::mount_cgroup2(&cgroup)?;
            let at = cgroup.clone();
            undo.push(format!("cgroup2 at {}", at.display()), move || {
                Ok(host::unmount(&at)?)
            });
        }
        let datapath = self.datapath(&cgroup, undo)?;
        let plugin = self.cni.plugin_path();
        let plugin_written = copy_plugin(checked, &plugin, undo)?;
        let conflists = conflists::apply(
            || conflists::plan(&self.cni, &self.settings, self.pins.root()),
            |outcome| {
                let outcome = outcome.clone();
                undo.push(format!("entry in {}", outcome.path.display()), move || {
                    conflists::take_back(&outcome)
                });
            },
        )?;
        let (replaced, limits) = (datapath.replaced, datapath.limits);
        Ok(Report {
            cgroup,
            mounted,
            replaced,
            limits,
            plugin,
            plugin_written,
            conflists,
        })
    }

    fn datapath(&self, cgroup: &Path, undo: &mut Undo) -> Result<sockway_datapath::InstallReport> {
        let fresh = !self.pins.dir().exists();
        let mut options = InstallOptions::new(self.pins.clone(), cgroup.to_owned());
        options.backlog_limit = self.backlog_limit;
        if fresh {
            // No pod is registered in maps that are new, so nothing is lost with them.
            let pins = self.pins.clone();
            undo.push("programs and maps", move || Ok(Datapath::remove(&pins)?));
        }
        Ok(Datapath::install(&options)?)
    }
}

fn copy_plugin(checked: &Checked, to: &Path, undo: &mut Undo) -> Result<Written> {
    let was_there = to.exists();
    let written = files::copy_program(&checked.plugin, to)?;
    if !was_there {
        let path = to.to_owned();
        undo.push(format!("{}", to.display()), move || {
            files::remove(&path).map(|_| ())
        });
    }
    for version in &checked.versions {
        plugin::probe(to, version)?;
    }
    Ok(written)
}

/// Everything here changes the node as a whole.
///
/// # Errors
///
/// For anyone but root.
pub fn require_root() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "this needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN): run it with sudo"
    );
    Ok(())
}

/// Makes the directory for what lives until the next boot.
///
/// # Errors
///
/// With the path.
pub fn make_run_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}

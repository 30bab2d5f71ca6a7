//! Bringing a node into the state in which pods are registered and connections joined.
//!
//! The order makes every moment safe to be killed in: first everything is
//! checked, then come the programs (which do nothing without registered pods),
//! then the plugin's binary (which nobody calls yet), and last the conflist,
//! from which the runtime starts to call it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;
use sockway_datapath::{Datapath, InstallOptions, InstallReport, Pins, host};

use crate::cgroup::{self, Choice};
use crate::conflist::CNI_VERSIONS;
use crate::conflists::{self, Change, Outcome};
use crate::doctor::gate;
use crate::doctor::proof::Known;
use crate::files::{self, Written};
use crate::layouts::{self, Retired};
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
    /// Accelerated connections at a time, where the maps are not there yet.
    pub max_connections: u32,
    /// Seconds without a packet after which Envoy's end probes; 0: never.
    pub keepalive_idle: u32,
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
    /// Layouts of other versions that still serve connections.
    pub retired: Vec<Retired>,
}

/// What of the node the checks found fit.
#[derive(Clone, Debug)]
pub struct Host {
    /// The plugin to copy.
    pub plugin: PathBuf,
    /// Where to attach.
    pub cgroup: Choice,
    /// What the proof found out of the kernel.
    pub known: Option<Known>,
}

impl Wanted {
    /// Checks everything about the host and the options; changes nothing.
    ///
    /// # Errors
    ///
    /// What keeps the node from being installed on, with the remedy.
    pub fn check_host(&self) -> Result<Host> {
        require_root()?;
        ensure!(
            !Datapath::EMBEDDED_IS_STUB,
            "this build holds no eBPF programs (it is one for checks only): build with `make build`"
        );
        self.settings
            .entry(self.pins.root(), None)
            .map_err(|problems| anyhow!("the settings of the plugin: {problems}"))?;
        host::require_bpffs(self.pins.root())?;
        let cgroup = cgroup::choose(&self.cgroup, &self.run_dir, self.force)?;
        let plugin = plugin::find(self.plugin.as_deref())?;
        plugin::probe(&plugin, CNI_VERSIONS[0])?;
        let directory = &self.cni.cni_bin_dir;
        ensure!(
            directory.is_dir(),
            "{} is not a directory: name the runtime's plugin directory with --cni-bin-dir",
            directory.display()
        );
        Ok(Host {
            plugin,
            cgroup,
            known: None,
        })
    }

    /// Proves on this kernel that joined connections behave as they must; changes nothing that
    /// outlasts it.
    ///
    /// # Errors
    ///
    /// [`gate::Refused`] where they do not, unless that is forced.
    pub fn prove(&self, host: &mut Host) -> Result<()> {
        host.known = gate::admit(&host.cgroup, self.backlog_limit, self.force)?;
        Ok(())
    }

    /// What has to change in conflists; changes nothing.
    ///
    /// # Errors
    ///
    /// Where there is none that the plugin can be chained into.
    pub fn plan_conflists(&self) -> Result<Vec<Change>> {
        conflists::plan(&self.cni, &self.settings, self.pins.root())
    }

    /// Makes the node as wanted. May be run again at any time, also after having been killed.
    ///
    /// # Errors
    ///
    /// The step that failed. What this run did before it is taken back.
    pub fn install(&self, host: &Host) -> Result<Report> {
        let mut undo = Undo::default();
        let done = self.steps(host, &mut undo);
        if done.is_err() {
            undo.roll_back();
        }
        done
    }

    fn steps(&self, host: &Host, undo: &mut Undo) -> Result<Report> {
        let mounted = matches!(host.cgroup, Choice::Mount(_));
        let InstallReport {
            replaced, limits, ..
        } = self.install_programs(host, undo)?;
        let plugin_written = self.install_plugin(host, undo)?;
        let conflists = self.install_conflists(conflists::ATTEMPTS, undo)?;
        let retired = layouts::retire(&self.pins)?;
        let cgroup = host.cgroup.path().to_owned();
        let plugin = self.cni.plugin_path();
        Ok(Report {
            cgroup,
            mounted,
            replaced,
            limits,
            plugin,
            plugin_written,
            conflists,
            retired,
        })
    }

    /// Loads, pins and attaches the programs, or replaces them in place.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn install_programs(&self, host: &Host, undo: &mut Undo) -> Result<InstallReport> {
        let cgroup = host.cgroup.path().to_owned();
        if matches!(host.cgroup, Choice::Mount(_)) && !host::is_cgroup2(&cgroup) {
            host::mount_cgroup2(&cgroup)?;
            let at = cgroup.clone();
            undo.push(format!("cgroup2 at {}", at.display()), move || {
                Ok(host::unmount(&at)?)
            });
        }
        if !self.pins.dir().exists() {
            // No pod is registered in maps that are new, so nothing is lost with them.
            let pins = self.pins.clone();
            undo.push("programs and maps", move || Ok(Datapath::remove(&pins)?));
        }
        let mut options = InstallOptions::new(self.pins.clone(), cgroup);
        options.backlog_limit = self.backlog_limit;
        options.max_connections = self.max_connections;
        options.keepalive_idle = self.keepalive_idle;
        options.offsets = host.known.map(|known| known.offsets);
        options.guards = host.known.is_none_or(|known| known.guards);
        Ok(Datapath::install(&options)?)
    }

    /// Copies the plugin's binary and checks that it runs where it is.
    ///
    /// # Errors
    ///
    /// With the path.
    pub fn install_plugin(&self, host: &Host, undo: &mut Undo) -> Result<Written> {
        let to = self.cni.plugin_path();
        let was_there = to.exists();
        let written = files::copy_program(&host.plugin, &to)?;
        if !was_there {
            let path = to.clone();
            undo.push(to.display().to_string(), move || {
                files::remove(&path).map(|_| ())
            });
        }
        plugin::probe(&to, CNI_VERSIONS[0])?;
        Ok(written)
    }

    /// Puts the entry into the conflists; see [`conflists::apply`] for `attempts`.
    ///
    /// # Errors
    ///
    /// Those of planning and of writing.
    pub fn install_conflists(&self, attempts: usize, undo: &mut Undo) -> Result<Vec<Outcome>> {
        let _lock = files::lock_directory(&self.cni.cni_conf_dir, files::LOCK_WAIT)?;
        let plan = || {
            let changes = self.plan_conflists()?;
            for change in &changes {
                plugin::probe(&self.cni.plugin_path(), &change.version)?;
            }
            Ok(changes)
        };
        conflists::apply(attempts, plan, |outcome| {
            let outcome = outcome.clone();
            undo.push(format!("entry in {}", outcome.path.display()), move || {
                conflists::take_back(&outcome)
            });
        })
    }
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

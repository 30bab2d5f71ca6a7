//! Bringing a node into the state in which pods are registered and connections joined.
//!
//! The order makes every moment safe to be killed in: first everything is
//! checked, then come the programs (which do nothing without registered pods),
//! then the plugin's binary (which nobody calls yet), and last the conflist,
//! from which the runtime starts to call it.

pub mod components;
pub mod drain;
mod fit;
pub mod layouts;
pub mod off;
pub mod undo;

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use sockway_datapath::{Datapath, InstallOptions, InstallReport, Pins, host};

use self::components::Scene;
use self::layouts::Retired;
use self::undo::Undo;
use crate::cni::CniArgs;
use crate::cni::changes::{self, Change, Outcome};
use crate::cni::conflist::CNI_VERSIONS;
use crate::cni::plugin;
use crate::cni::settings::Settings;
use crate::options::{CgroupArgs, RunDirArgs};
use crate::reconcile::{self, SourceArgs};
use crate::sys::cgroup::Choice;
use crate::sys::files::{self, Written};
pub use fit::{Host, make_run_dir, require_root};

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
    /// Where it is kept that the node is switched off.
    pub state_dir: PathBuf,
    /// Whether it is to be off, whatever was noted.
    pub off: bool,
    /// Redirected bytes that may wait at a reader.
    pub backlog_limit: u32,
    /// Accelerated connections at a time, where the maps are not there yet.
    pub max_connections: u32,
    /// Seconds after which one message of a redirected direction goes by TCP; 0: never.
    pub tcp_every: u32,
    /// Whether to go on where a check says that it may not do what is hoped for.
    pub force: bool,
}

/// What was done.
#[derive(Clone, Debug, Default, Serialize)]
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
    /// Why no list has the entry yet, or what keeps a runtime from loading it.
    pub troubles: Vec<String>,
    /// Layouts of other versions that still serve connections.
    pub retired: Vec<Retired>,
    /// Pods that were there before; absent where they could not be looked for.
    pub pods: Option<reconcile::Report>,
}

impl Wanted {
    /// What has to change in conflists; changes nothing.
    ///
    /// # Errors
    ///
    /// Where there is none that the plugin can be chained into.
    pub fn plan_conflists(&self) -> Result<Vec<Change>> {
        changes::plan(&self.cni, &self.settings, self.pins.root())
    }

    /// Makes the node as wanted. May be run again at any time, also after having been killed.
    ///
    /// # Errors
    ///
    /// The step that failed. What this run did before it is taken back.
    pub fn install(&self, host: &Host, sources: &SourceArgs) -> Result<Report> {
        let mut undo = Undo::default();
        let mut report = Report::default();
        let scene = Scene {
            wanted: self,
            host,
            sources,
        };
        for component in components::ALL {
            if let Err(e) = component.apply(scene, &mut undo, &mut report) {
                undo.roll_back();
                return Err(e);
            }
        }
        Ok(report)
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
        options.tcp_every = self.tcp_every;
        options.found = host.known.map(|known| known.found);
        options.guards = host.known.is_none_or(|known| known.guards);
        let report = Datapath::install(&options)?;
        self.switch()?;
        Ok(report)
    }

    /// Has the programs in place be off or on, as is wanted; whether anything changed.
    ///
    /// # Errors
    ///
    /// Where the maps cannot be read or written.
    pub fn switch(&self) -> Result<bool, sockway_datapath::Error> {
        off::apply(
            self.off || off::is_set(&self.state_dir, &self.pins),
            &self.pins,
        )
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

    /// Takes the entry out of every list that a runtime may load, because it would call a plugin that
    /// cannot be there.
    ///
    /// # Errors
    ///
    /// Where the directory cannot be read or a file not written.
    pub fn withdraw(&self) -> Result<Vec<Outcome>> {
        let directory = &self.cni.cni_conf_dir;
        let _lock = files::lock_directory(directory, files::LOCK_WAIT)?;
        changes::apply(1, || changes::plan_removal(directory), |_| {})
    }

    /// Puts the entry into the conflists; see [`changes::apply`] for `attempts`.
    ///
    /// # Errors
    ///
    /// Those of planning and of writing.
    pub fn install_conflists(&self, attempts: usize, undo: &mut Undo) -> Result<Vec<Outcome>> {
        let _lock = files::lock_directory(&self.cni.cni_conf_dir, files::LOCK_WAIT)?;
        let plan = || {
            let changes = self.plan_conflists()?;
            for change in changes.iter().filter(|change| change.entry.is_some()) {
                plugin::probe(&self.cni.plugin_path(), &change.version)?;
            }
            Ok(changes)
        };
        changes::apply(attempts, plan, |outcome| {
            let outcome = outcome.clone();
            undo.push(format!("entry in {}", outcome.path.display()), move || {
                changes::take_back(&outcome)
            });
        })
    }
}

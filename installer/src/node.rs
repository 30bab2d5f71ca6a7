//! Bringing a node into the state in which pods are registered and connections joined.
//!
//! The order makes every moment safe to be killed in: first everything is
//! checked, then come the programs (which do nothing without registered pods),
//! then the plugin's binary (which nobody calls yet), and last the conflist,
//! from which the runtime starts to call it.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;
use sockway_datapath::{Datapath, InstallOptions, InstallReport, Pins, host, probe};

use crate::cgroup::{self, Choice};
use crate::components::{self, Scene};
use crate::conflist::CNI_VERSIONS;
use crate::conflists::{self, Change, Outcome};
use crate::doctor::gate;
use crate::doctor::proof::Known;
use crate::files::{self, Written};
use crate::layouts::Retired;
use crate::off;
use crate::options::{CgroupArgs, CniArgs, RunDirArgs};
use crate::plugin;
use crate::reconcile::{self, SourceArgs};
use crate::settings::Settings;
use crate::undo::Undo;

/// How long the kernel may take to take off what a dead process had attached.
const TAKEN_OFF: Duration = Duration::from_secs(1);

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
        self.require_place(cgroup.path())?;
        let plugin = plugin::find(self.plugin.as_deref())?;
        plugin::probe(&plugin, CNI_VERSIONS[0])?;
        Ok(Host {
            plugin,
            cgroup,
            known: None,
        })
    }

    /// Checks that the runtime's plugin directory is there, which `run` waits for.
    ///
    /// # Errors
    ///
    /// Where it is not.
    pub fn require_plugin_directory(&self) -> Result<()> {
        let directory = &self.cni.cni_bin_dir;
        ensure!(
            directory.is_dir(),
            "{} is not a directory: name the runtime's plugin directory with --cni-bin-dir",
            directory.display()
        );
        Ok(())
    }

    /// Whether programs of others leave room for ours.
    fn require_place(&self, cgroup: &Path) -> Result<()> {
        // Not mounted yet, or not to be seen: the kernel has the last word.
        for other in probe::others(cgroup).unwrap_or_default() {
            ensure!(
                !other.exclusive,
                "{} program {} ({}) was attached without BPF_F_ALLOW_MULTI and admits no other beside it on {}: \
                 detach it (`bpftool cgroup tree` shows where it is), or attach elsewhere with --cgroup",
                other.hook,
                other.id,
                if other.name.is_empty() {
                    "without a name"
                } else {
                    &other.name
                },
                cgroup.display()
            );
        }
        if self.force {
            return Ok(());
        }
        let second = self.another_sockway(cgroup);
        ensure!(
            second.is_empty(),
            "another Sockway is attached to {} (program {}), with its pins elsewhere than {}: two of them take each \
             other's sockets; uninstall one first (`sockway uninstall --bpffs DIR`)",
            cgroup.display(),
            second[0],
            self.pins.root().display()
        );
        Ok(())
    }

    /// Programs of another Sockway on the same sockets. What an install that was killed had attached and
    /// not pinned yet, the kernel takes off a moment after its end (kernel/bpf/syscall.c `bpf_link_put`).
    fn another_sockway(&self, cgroup: &Path) -> Vec<u32> {
        let started = Instant::now();
        loop {
            let found = probe::another_sockway(&self.pins, cgroup).unwrap_or_default();
            if found.is_empty() || started.elapsed() > TAKEN_OFF {
                return found;
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Proves on this kernel that joined connections behave as they must; changes nothing that
    /// outlasts it.
    ///
    /// # Errors
    ///
    /// [`gate::Refused`] where they do not, unless that is forced.
    pub fn prove(&self, host: &mut Host) -> Result<()> {
        host.known = gate::admit(
            &self.run_dir.run_dir,
            &host.cgroup,
            self.backlog_limit,
            self.force,
        )?;
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
        options.offsets = host.known.map(|known| known.found.offsets);
        options.functions = host.known.map(|known| known.found.functions);
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
        conflists::apply(1, || conflists::plan_removal(directory), |_| {})
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
            for change in changes.iter().filter(|change| change.entry.is_some()) {
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

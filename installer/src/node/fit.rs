//! Whether a node is fit for it; nothing is changed.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use sockway_datapath::{Datapath, host, probe};

use super::Wanted;
use crate::cni::conflist::CNI_VERSIONS;
use crate::cni::plugin;
use crate::doctor::gate;
use crate::doctor::proof::Known;
use crate::sys::cgroup::{self, Choice};

/// How long the kernel may take to take off what a dead process had attached.
const TAKEN_OFF: Duration = Duration::from_secs(1);

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

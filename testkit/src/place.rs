//! Where a process runs: network namespace, cgroup, user.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use crate::netns::Netns;

/// A place for processes. Nothing set means: as this one.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Path of a network namespace.
    pub netns: Option<PathBuf>,
    /// Directory of a cgroup2.
    pub cgroup: Option<PathBuf>,
    /// User and group id.
    pub user: Option<u32>,
}

impl Place {
    /// A network namespace and nothing else.
    pub fn netns(path: &Path) -> Self {
        Self {
            netns: Some(path.to_owned()),
            ..Self::default()
        }
    }

    /// Makes the child of `command` start here, in a process group of its own,
    /// and end with the thread that starts it.
    pub fn prepare(&self, command: &mut Command) -> Result<()> {
        let Self {
            netns,
            cgroup,
            user,
        } = self.clone();
        let netns = netns.map(|path| open(&path)).transpose()?;
        let cgroup = cgroup.map(|dir| procs(&dir)).transpose()?;
        // A terminal's Ctrl-C goes to this program only, which then ends its children in order.
        command.process_group(0);
        let enter = move || -> io::Result<()> {
            if let Some(mut procs) = cgroup.as_ref() {
                procs.write_all(b"0")?;
            }
            if let Some(netns) = &netns {
                setns(netns, CloneFlags::CLONE_NEWNET)?;
            }
            if let Some(user) = user {
                setgroups(&[])?;
                setgid(Gid::from_raw(user))?;
                setuid(Uid::from_raw(user))?;
            }
            // Last, because a change of user takes it back.
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes plain system calls on
        // files that were opened before; it neither allocates nor takes locks.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }

    /// Runs a closure on a thread of its own in this place's network namespace.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        match &self.netns {
            Some(path) => Netns::open(path)?.within(work),
            None => work(),
        }
    }
}

/// What `sockway` is told of a node whose directories are all below one, by variables of its environment.
pub fn directories(below: &Path, cgroup: &Path, log: &Path) -> [(&'static str, PathBuf); 7] {
    [
        ("SOCKWAY_BPFFS", below.join("bpf/sockway")),
        ("SOCKWAY_CNI_BIN_DIR", below.join("bin")),
        ("SOCKWAY_CNI_CONF_DIR", below.join("net.d")),
        ("SOCKWAY_RUN_DIR", below.join("run")),
        ("SOCKWAY_STATE_DIR", below.join("state")),
        ("SOCKWAY_CGROUP", cgroup.to_owned()),
        ("SOCKWAY_LOG_FILE", log.to_owned()),
    ]
}

fn open(netns: &Path) -> Result<File> {
    File::open(netns).with_context(|| format!("open network namespace {}", netns.display()))
}

fn procs(cgroup: &Path) -> Result<File> {
    let path = cgroup.join("cgroup.procs");
    let file = OpenOptions::new().write(true).open(&path);
    file.with_context(|| format!("open {}", path.display()))
}

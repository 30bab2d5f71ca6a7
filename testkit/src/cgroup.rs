//! Directories of a cgroup hierarchy.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long the kernel may take to let go of one: processes that just ended are in it a moment longer.
const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(5);

/// Makes this process one of a cgroup.
pub fn enter(cgroup: &Path) -> Result<()> {
    let procs = cgroup.join("cgroup.procs");
    fs::write(&procs, "0").with_context(|| format!("write {}", procs.display()))
}

/// Removes one with all below it, if it is there.
pub fn remove(cgroup: &Path) -> Result<()> {
    patiently(cgroup, || remove_tree(cgroup))
}

/// Ends what still runs in it and below, and removes it.
pub fn end(cgroup: &Path) -> Result<()> {
    patiently(cgroup, || {
        kill_all(cgroup);
        remove_tree(cgroup)
    })
}

fn patiently(cgroup: &Path, work: impl Fn() -> io::Result<()>) -> Result<()> {
    let started = Instant::now();
    while let Err(error) = work() {
        if started.elapsed() > PATIENCE {
            return Err(error).with_context(|| format!("remove {}", cgroup.display()));
        }
        thread::sleep(TICK);
    }
    Ok(())
}

fn children(cgroup: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|entry| entry.path())
}

fn kill_all(cgroup: &Path) {
    children(cgroup).for_each(|child| kill_all(&child));
    let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in procs.lines().filter_map(|pid| pid.parse().ok()) {
        // Gone meanwhile is as good.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Children first; the files in a cgroup go with it.
fn remove_tree(cgroup: &Path) -> io::Result<()> {
    children(cgroup).try_for_each(|child| remove_tree(&child))?;
    match fs::remove_dir(cgroup) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

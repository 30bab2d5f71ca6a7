//! The run's cgroups: the one thing that namespaces do not take with them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::unistd::getpid;

/// Every name starts with it; then come process id and start time.
const PREFIX: &str = "sockway-conformance-";
/// How long the kernel may take until the processes of a namespace are gone.
const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(20);

/// A cgroup under the root of the cgroup2 hierarchy, with this process in a
/// child of it: containers' cgroups stand beside that child, and a cgroup that
/// has children with controllers may hold no processes itself.
#[derive(Debug)]
pub(super) struct Cgroup {
    pub(super) path: PathBuf,
    name: String,
    hierarchy: PathBuf,
}

impl Cgroup {
    /// Removes what dead runs left, makes the cgroup and moves this process into it.
    pub(super) fn make(hierarchy: &Path) -> Result<Self> {
        sweep();
        let pid = getpid().as_raw();
        let start = start_time(pid).context("this process's start time")?;
        let name = format!("{PREFIX}{pid}-{start}");
        let path = hierarchy.join(&name);
        let tests = path.join("tests");
        fs::create_dir_all(&tests).with_context(|| format!("create {}", tests.display()))?;
        let cgroup = Self {
            path,
            name,
            hierarchy: hierarchy.to_owned(),
        };
        move_to(&tests)?;
        Ok(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let result = move_to(&self.hierarchy).and_then(|()| remove(&self.name));
        if let Err(error) = result {
            eprintln!("sockway-conformance: clean-up: {error:#}");
        }
    }
}

fn move_to(cgroup: &Path) -> Result<()> {
    let procs = cgroup.join("cgroup.procs");
    fs::write(&procs, "0").with_context(|| format!("write {}", procs.display()))
}

/// Removes the cgroups of that name from every hierarchy: runtimes make them in
/// those of cgroup v1 too.
fn remove(name: &str) -> Result<()> {
    for root in hierarchies() {
        let path = root.join(name);
        let started = Instant::now();
        while let Err(error) = remove_tree(&path) {
            if started.elapsed() > PATIENCE {
                return Err(error).with_context(|| format!("remove {}", path.display()));
            }
            thread::sleep(TICK);
        }
    }
    Ok(())
}

/// Children first; the files in a cgroup go with it.
fn remove_tree(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Mount points of every cgroup hierarchy.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let lines = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup").then(|| PathBuf::from(at))
    });
    lines.collect()
}

/// Removes what runs left that were killed.
fn sweep() {
    for root in hierarchies() {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((pid, start)) = owner(&name) else {
                continue;
            };
            if start_time(pid) != Some(start)
                && let Err(error) = remove(&name)
            {
                eprintln!("sockway-conformance: what an earlier run left: {error:#}");
            }
        }
    }
}

/// Process id and start time out of a name.
fn owner(name: &str) -> Option<(i32, u64)> {
    let (pid, start) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((pid.parse().ok()?, start.parse().ok()?))
}

/// Field 22 of `/proc/<pid>/stat`: tells a process from a later one with its id.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{PREFIX, owner, start_time};

    #[test]
    fn names_say_whose_they_are() {
        assert_eq!(owner(&format!("{PREFIX}12-345")), Some((12, 345)));
        assert_eq!(owner(&format!("{PREFIX}12")), None);
        assert_eq!(owner("user.slice"), None);
    }

    #[test]
    fn this_process_has_a_start_time() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(pid).is_some_and(|time| time > 0));
    }
}

//! What a run leaves on the machine while it lasts, and its removal.
//!
//! Everything is named after the run (process id and the process's start
//! time), so that a later run can remove what a killed one left, by exact name.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sockway_datapath::host;

use crate::command::Run;

/// Parent of the directories of all runs.
const RUNS: &str = "/run/sockway-e2e";
/// Every name starts with it; short, as an interface's name must fit into 15 bytes.
const PREFIX: &str = "swe2e-";
/// Where libcni keeps results, unless told otherwise, which cnitool cannot be.
pub const LIBCNI_RESULTS: &str = "/var/lib/cni/results";
/// How long the kernel may take to let go of a cgroup.
const PATIENCE: Duration = Duration::from_secs(5);

/// A run's directory and names.
#[derive(Debug)]
pub struct Scratch {
    name: String,
    dir: PathBuf,
    cgroup_root: PathBuf,
}

impl Scratch {
    /// Removes what dead runs left, then makes this run's directory with a BPF
    /// file system of its own and a child cgroup.
    pub fn new(counter: u32) -> Result<Self> {
        sweep()?;
        let pid = std::process::id();
        let start = start_time(pid).context("this process's start time")?;
        let name = format!("{PREFIX}{pid}-{start}-{counter}");
        let dir = Path::new(RUNS).join(&name);
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let mut scratch = Self {
            name,
            dir,
            cgroup_root: PathBuf::new(),
        };
        for sub in ["net.d", "bin", "ipam", "logs"] {
            fs::create_dir(scratch.path(sub)).with_context(|| format!("create {sub}"))?;
        }
        mount_private(&scratch.path("bpf"), "bpf")?;
        scratch.cgroup_root = if let Some(root) = host::find_cgroup2()? {
            root
        } else {
            let at = scratch.path("cgroup2");
            mount_private(&at, "cgroup2")?;
            at
        };
        fs::create_dir(scratch.cgroup()).context("create a cgroup")?;
        Ok(scratch)
    }

    /// The run's unique name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path in the run's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The cgroup that the run's pods live in.
    pub fn cgroup(&self) -> PathBuf {
        self.cgroup_root.join(&self.name)
    }

    /// The cgroup of one of its pods, below that one.
    pub fn pod_cgroup(&self, pod: &str) -> PathBuf {
        self.cgroup().join(pod)
    }

    /// Name of a network namespace of this run.
    pub fn netns(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Removes everything; an error names what could not be removed.
    pub fn remove(&self) -> Result<()> {
        remove_run(&self.name, &self.dir, &self.cgroup_root)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("sockway-e2e: clean-up: {error:#}");
        }
    }
}

fn mount_private(at: &Path, fstype: &str) -> Result<()> {
    fs::create_dir(at).with_context(|| format!("create {}", at.display()))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("none"), at, Some(fstype), flags, None::<&str>)
        .with_context(|| format!("mount {fstype} at {}", at.display()))
}

/// Field 22 of `/proc/<pid>/stat`: tells a process from a later one with its id.
/// `None` where it is dead, waited for or not.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Process id and start time out of a run's name.
fn owner(name: &str) -> Option<(u32, u64)> {
    let mut ids = name.strip_prefix(PREFIX)?.split('-');
    Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
}

/// Removes what runs left whose process is gone.
fn sweep() -> Result<()> {
    let entries = match fs::read_dir(RUNS) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("list {RUNS}"))?,
    };
    let root = host::find_cgroup2()?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((pid, start)) = owner(&name) else {
            continue;
        };
        if start_time(pid) == Some(start) {
            continue;
        }
        let dir = entry.path();
        let root = root.clone().unwrap_or_else(|| dir.join("cgroup2"));
        remove_run(&name, &dir, &root).with_context(|| format!("remove what {name} left"))?;
    }
    Ok(())
}

fn remove_run(name: &str, dir: &Path, cgroup_root: &Path) -> Result<()> {
    let mut errors = Vec::new();
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            errors.push(format!("{error:#}"));
        }
    };
    note(end_cgroup(&cgroup_root.join(name)));
    for path in children_with_prefix(Path::new("/run/netns"), &format!("{name}-")) {
        let netns = path.file_name().unwrap_or_default();
        note(Run::new("ip").args(["netns", "delete"]).arg(netns).done());
    }
    for path in children_with_prefix(Path::new(LIBCNI_RESULTS), &format!("{name}-")) {
        note(fs::remove_file(&path).with_context(|| format!("remove {}", path.display())));
    }
    for mounted in ["bpf", "cgroup2"] {
        let at = dir.join(mounted);
        match umount2(&at, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(error) => note(Err(error).with_context(|| format!("unmount {}", at.display()))),
        }
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            note(Err(error).with_context(|| format!("remove {}", dir.display())));
        }
        _ => {}
    }
    // Other runs may still be there.
    drop(fs::remove_dir(RUNS));
    if errors.is_empty() {
        Ok(())
    } else {
        bail!("{}", errors.join("; "))
    }
}

/// Ends what still runs in the run's own cgroup and removes it.
fn end_cgroup(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let kill_all = || -> Result<()> {
        let procs = fs::read_to_string(path.join("cgroup.procs"))?;
        for pid in procs.lines().filter_map(|pid| pid.parse().ok()) {
            // Gone meanwhile is as good.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        Ok(())
    };
    // Those of its pods.
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            end_cgroup(&entry.path())?;
        }
    }
    let started = Instant::now();
    loop {
        kill_all()?;
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if started.elapsed() > PATIENCE => {
                return Err(error).with_context(|| format!("remove {}", path.display()));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Entries of a directory whose name starts so; none where there is no directory.
pub fn children_with_prefix(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(prefix))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{owner, start_time};

    #[test]
    fn this_process_is_alive_and_init_is_older() {
        let this = start_time(std::process::id()).expect("alive");
        assert!(start_time(1).is_some_and(|init| init <= this));
        assert_eq!(start_time(u32::MAX), None);
    }

    #[test]
    fn names_tell_their_owner() {
        assert_eq!(owner("swe2e-12-345-6"), Some((12, 345)));
        assert_eq!(owner("swe2e-12"), None);
        assert_eq!(owner("other-12-345-6"), None);
    }
}

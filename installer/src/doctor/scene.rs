//! The throw-away place of the proof.
//!
//! Two processes. The first one leaves the node's network and mount namespaces,
//! mounts a bpffs only it can see, makes a cgroup, and takes that away again; the
//! second one goes into the cgroup and runs the exchange. Programs, maps and links
//! end with the mount namespace, so a kill at any moment leaves at most an empty
//! cgroup directory, which the next run removes.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::statvfs::{FsFlags, statvfs};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use sockway_datapath::{Pins, host};

use super::exchange;
use crate::sys::parent::end_with;

/// Where the first process mounts cgroup2 where no mount of it can be used; every kernel with
/// cgroups has the directory.
pub const OWN_MOUNT: &str = "/sys/fs/cgroup";
/// Every kernel with BPF has it; over it goes the bpffs that only the proof sees.
const BPFFS: &str = "/sys/fs/bpf";
/// What the throw-away cgroups' names begin with.
pub const PREFIX: &str = "sockway-doctor.";
/// How long the exchange may take.
const LIMIT: Duration = Duration::from_secs(25);
const NONE: Option<&str> = None;

/// The first process.
///
/// # Errors
///
/// What cannot be set up, with the step.
pub fn set_up(cgroup: &Path, backlog_limit: u32, parent: u32) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot take signals")?;
    }
    end_with(parent, Signal::SIGTERM)?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .context("cannot make namespaces for the proof (CAP_SYS_ADMIN)")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NONE, "/", NONE, private, NONE).context("cannot make mounts private")?;
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), NONE)
        .with_context(|| format!("cannot mount a bpffs at {BPFFS} (CONFIG_BPF_SYSCALL?)"))?;
    host::raise_loopback()?;
    let own = Throwaway::make(&writable(cgroup)?)?;
    let mut child = Command::new("/proc/self/exe")
        .args(["doctor", "--stage", "exchange", "--cgroup"])
        .arg(&own.path)
        .args(["--backlog-limit", &backlog_limit.to_string()])
        .args(["--parent", &std::process::id().to_string()])
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start the exchange")?;
    let waited = wait(&mut child, &stop);
    own.remove()?;
    waited
}

/// The cgroup to make one in: the one given, or where that is not mounted, or read-only as
/// in a container, the root of a mount that only the proof sees.
fn writable(given: &Path) -> Result<PathBuf> {
    let own = Path::new(OWN_MOUNT);
    let read_only = statvfs(given).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY));
    if host::is_cgroup2(given) && !read_only {
        return Ok(given.to_owned());
    }
    let flags = MsFlags::empty();
    mount(Some("none"), own, Some("cgroup2"), flags, NONE)
        .with_context(|| format!("cannot mount cgroup2 at {OWN_MOUNT} (CONFIG_CGROUPS?)"))?;
    Ok(own.to_owned())
}

fn wait(child: &mut Child, stop: &AtomicBool) -> Result<()> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the exchange")? {
            ensure!(status.success(), "the exchange ended with {status}");
            return Ok(());
        }
        let stopped = stop.load(Ordering::Relaxed);
        if stopped || start.elapsed() > LIMIT {
            child.kill().context("cannot end the exchange")?;
            child.wait().context("cannot wait for the exchange")?;
            if stopped {
                bail!("told to end");
            }
            bail!("the exchange did not end within {} s", LIMIT.as_secs());
        }
        sleep(Duration::from_millis(2));
    }
}

/// The second process: what it prints is the proof.
///
/// # Errors
///
/// Where it cannot get into the cgroup, or not print.
pub fn exchange(cgroup: &Path, backlog_limit: u32, parent: u32) -> Result<()> {
    end_with(parent, Signal::SIGKILL)?;
    fs::write(cgroup.join("cgroup.procs"), "0")
        .with_context(|| format!("cannot go into {}", cgroup.display()))?;
    let pins = Pins::new(Path::new(BPFFS).join("sockway-doctor"));
    crate::ui::print_json(&exchange::run(&pins, cgroup, backlog_limit))
}

/// A cgroup that is locked for as long as it is in use.
#[derive(Debug)]
struct Throwaway {
    path: PathBuf,
    _lock: File,
}

impl Throwaway {
    fn make(parent: &Path) -> Result<Self> {
        sweep(parent);
        for attempt in 0..16 {
            let path = parent.join(format!("{PREFIX}{}-{attempt}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(e) => {
                    return Err(e)
                        .with_context(|| format!("cannot make the cgroup {}", path.display()));
                }
            }
            if let Some(lock) = locked(&path)? {
                return Ok(Self { path, _lock: lock });
            }
        }
        bail!(
            "other runs take every cgroup away that is made in {}",
            parent.display()
        )
    }

    fn remove(self) -> Result<()> {
        const TRIES: u32 = 100;
        for left in (0..TRIES).rev() {
            match fs::remove_dir(&self.path) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                // A process that has just ended is still counted for a moment.
                Err(_) if left > 0 => sleep(Duration::from_millis(5)),
                Err(e) => {
                    return Err(e)
                        .with_context(|| format!("cannot remove {}", self.path.display()));
                }
            }
        }
        Ok(())
    }
}

/// The lock on a directory that is still there; `None` where another run holds it or took it away.
fn locked(path: &Path) -> Result<Option<File>> {
    let Ok(file) = File::open(path) else {
        return Ok(None);
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(e)) => return Err(e).context("cannot lock a cgroup's directory"),
    }
    let inode = file.metadata().map(|m| m.ino()).ok();
    let there = path.metadata().map(|m| m.ino()).ok();
    Ok((inode == there && inode.is_some()).then_some(file))
}

/// Removes what runs left behind that were killed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours
            && let Ok(Some(_lock)) = locked(&path)
            && let Err(e) = fs::remove_dir(&path)
        {
            log::debug!("{} stays: {e}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PREFIX, Throwaway, locked, sweep};
    use std::fs;

    #[test]
    fn what_is_in_use_is_not_swept() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(format!("{PREFIX}1-0"));
        let foreign = dir.path().join("kubepods");
        fs::create_dir(&left).unwrap();
        fs::create_dir(&foreign).unwrap();
        let mine = Throwaway::make(dir.path()).unwrap();
        assert!(!left.exists(), "swept by the next run");
        sweep(dir.path());
        assert!(mine.path.exists() && foreign.exists());
        assert!(locked(&mine.path).unwrap().is_none());
        mine.remove().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

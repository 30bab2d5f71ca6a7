//! A BPF file system of the test's own.

use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// A mounted bpffs, gone when dropped.
#[derive(Debug)]
pub struct Bpffs(tempfile::TempDir);

impl Bpffs {
    /// Mounts one on a fresh directory, in a mount namespace that only the calling thread and the processes it starts
    /// are in: nothing is left behind, even by a test that is killed.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn mount() -> Self {
        let dir = tempfile::tempdir().expect("make a directory for bpffs");
        private_mounts()
            .and_then(|()| mount_at(dir.path(), "bpf"))
            .unwrap_or_else(|error| panic!("{error:#}"));
        Self(dir)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let unmounted = unmount(self.path());
        assert!(
            unmounted.is_ok() || std::thread::panicking(),
            "{unmounted:?}"
        );
    }
}

/// From now on only this thread, and what it starts, sees what it mounts.
pub fn private_mounts() -> Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace (needs root)")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NONE, "/", NONE, private, NONE).context("make mounts private")
}

/// Mounts a file system of a kind, `bpf` or `cgroup2`, on a directory that is made where there is none.
pub fn mount_at(at: &Path, kind: &str) -> Result<()> {
    std::fs::create_dir_all(at).with_context(|| format!("create {}", at.display()))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("none"), at, Some(kind), flags, None::<&str>)
        .with_context(|| format!("mount {kind} at {}", at.display()))
}

/// Takes a mount off, if there is one. Detached: processes that other tests fork hold files open for a moment.
pub fn unmount(at: &Path) -> Result<()> {
    match umount2(at, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("unmount {}", at.display())),
    }
}

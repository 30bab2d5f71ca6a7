//! A BPF file system of the test's own, and whether the privileged ring runs.
//!
//! The mount lives in a mount namespace that only the calling thread and the
//! processes it starts are in: nothing is left behind, even by a test that is killed.

use std::io::Write;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;

/// Set to 1 by the privileged test ring.
const RING: &str = "SOCKWAY_PRIVILEGED";

/// Whether to run a test that needs root; prints why where not.
///
/// # Panics
/// If the privileged ring is asked for without root.
#[must_use]
pub(crate) fn privileged(test: &str) -> bool {
    if std::env::var(RING).as_deref() != Ok("1") {
        // Past libtest's capture, which hides what a passing test prints.
        let line = format!("{test}: not run: needs root and real BPF maps; set {RING}=1\n");
        std::io::stderr()
            .write_all(line.as_bytes())
            .expect("write to standard error");
        return false;
    }
    assert!(Uid::effective().is_root(), "{test}: {RING}=1 needs root");
    true
}

/// A mounted bpffs, gone when dropped.
#[derive(Debug)]
pub(crate) struct Bpffs {
    dir: tempfile::TempDir,
}

impl Bpffs {
    /// Mounts one on a fresh directory.
    ///
    /// # Panics
    /// If the kernel refuses.
    #[must_use]
    pub(crate) fn mount() -> Self {
        const NONE: Option<&str> = None;
        let dir = tempfile::tempdir().expect("make a directory for bpffs");
        unshare(CloneFlags::CLONE_NEWNS).expect("unshare the mount namespace");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(NONE, "/", NONE, private, NONE).expect("make mounts private");
        mount(Some("bpf"), dir.path(), Some("bpf"), MsFlags::empty(), NONE).expect("mount bpffs");
        Self { dir }
    }

    /// Where it is mounted.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // The namespace ends with the thread; unmounting lets the directory go
        // now. Detached, as processes that other tests fork hold files open for
        // a moment.
        let unmounted = umount2(self.dir.path(), MntFlags::MNT_DETACH);
        assert!(
            unmounted.is_ok() || std::thread::panicking(),
            "umount: {unmounted:?}"
        );
    }
}

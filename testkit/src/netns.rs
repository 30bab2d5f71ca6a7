//! Network namespaces.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, which lives as long as this at least.
#[derive(Debug)]
pub struct Netns(File);

impl Netns {
    /// A new one, in which something is done first. `lo` is down.
    pub fn new(work: impl FnOnce() -> Result<()> + Send) -> Result<Self> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace (needs root)")?;
            work()?;
            Self::open(Path::new("/proc/thread-self/ns/net"))
        })
    }

    /// One that has a path.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path);
        file.with_context(|| format!("open network namespace {}", path.display()))
            .map(Self)
    }

    /// A path by which other processes find it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Its inode number.
    pub fn inode(&self) -> Result<u64> {
        Ok(self.0.metadata().context("stat the namespace")?.ino())
    }

    /// Does something on a thread of its own in it; sockets that are opened stay there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).context("setns")?;
            work()
        })
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(work);
        let done = thread.join();
        done.map_err(|_| anyhow!("panic in a network namespace"))?
    })
}

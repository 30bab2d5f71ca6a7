//! The pod's network namespace: its identity, and a look inside.

use std::fs::{File, OpenOptions};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use crate::error::Error;

/// The namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";
/// That of the node's first process, for a runtime that starts plugins elsewhere.
const FIRST: &str = "/proc/1/ns/net";

/// An open network namespace.
#[derive(Debug)]
pub struct Netns {
    file: File,
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Netns {
    /// Opens the namespace at a path.
    ///
    /// # Errors
    /// [`Error::Netns`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        // Non-blocking: what is at the path may be a FIFO.
        let flags = OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(path)
            .map_err(|e| fail(path, format!("cannot be opened (has the pod gone?): {e}")))?;
        let kind = fstatfs(&file).map_err(|e| fail(path, format!("cannot be looked at: {e}")))?;
        if kind.filesystem_type() != NSFS_MAGIC {
            return Err(fail(path, "is no namespace".to_owned()));
        }
        let meta = file
            .metadata()
            .map_err(|e| fail(path, format!("cannot be looked at: {e}")))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            device: meta.dev(),
            inode: meta.ino(),
        })
    }

    /// The namespace's inode number, which is its identity while it lives.
    #[must_use]
    pub const fn inode(&self) -> u64 {
        self.inode
    }

    /// As [`Netns::open`], for a pod's namespace.
    ///
    /// # Errors
    /// [`Error::Netns`]; also where the namespace is the one the plugin runs in, or the first process's
    /// (a pod with hostNetwork, a PID that was given out again): the node's addresses must never
    /// pass for a pod's.
    pub fn of_pod(path: &Path) -> Result<Self, Error> {
        let netns = Self::open(path)?;
        for node in [OWN, FIRST] {
            let is = |own: Self| (own.device, own.inode) == (netns.device, netns.inode);
            if Self::open(Path::new(node)).is_ok_and(is) {
                return Err(fail(path, "is the node's own".to_owned()));
            }
        }
        Ok(netns)
    }

    /// The addresses of an interface in the namespace.
    ///
    /// # Errors
    /// [`Error::Netns`].
    pub fn addresses(&self, ifname: &str) -> Result<Vec<IpAddr>, Error> {
        let own = Self::open(Path::new(OWN))?;
        let all = own.inside(self, || getifaddrs().map(Iterator::collect::<Vec<_>>))?;
        let all = all.map_err(|e| fail(&self.path, format!("does not list its addresses: {e}")))?;
        let addresses = all
            .iter()
            .filter(|a| a.interface_name == ifname)
            .filter_map(|a| {
                let address = a.address.as_ref()?;
                let v4 = || address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
                let v6 = || address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
                v4().or_else(v6)
            });
        Ok(addresses.collect())
    }

    /// Runs `look` in `other`, and comes back whatever happens in between.
    fn inside<T>(&self, other: &Self, look: impl FnOnce() -> T) -> Result<T, Error> {
        /// Goes back when dropped. A thread that cannot must not go on: all it
        /// did from then on would be done to the pod.
        struct Back<'a>(&'a Netns);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                if let Err(error) = setns(&self.0.file, CloneFlags::CLONE_NEWNET) {
                    log::error!("cannot go back to the node's network namespace: {error}");
                    std::process::abort();
                }
            }
        }
        setns(&other.file, CloneFlags::CLONE_NEWNET)
            .map_err(|e| fail(&other.path, format!("cannot be entered: {e}")))?;
        let _back = Back(self);
        Ok(look())
    }
}

fn fail(path: &Path, why: String) -> Error {
    Error::Netns {
        path: path.to_string_lossy().into_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Netns, OWN};

    fn details(path: &str) -> String {
        let error = Netns::open(Path::new(path)).unwrap_err();
        assert_eq!(error.code(), 103);
        error.details()
    }

    #[test]
    fn what_is_no_namespace_is_named() {
        assert!(details("/nonexistent/netns").contains("\"/nonexistent/netns\": cannot be opened"));
        assert!(details("/").contains("\"/\": is no namespace"));
        assert!(details("/dev/null").contains("is no namespace"));
    }

    #[test]
    fn the_nodes_own_namespace_is_no_pods() {
        let netns = Netns::open(Path::new(OWN)).unwrap();
        assert_ne!(netns.inode(), 0);
        let error = Netns::of_pod(Path::new(OWN)).unwrap_err();
        assert!(
            error.details().contains("is the node's own"),
            "{}",
            error.details()
        );
    }
}

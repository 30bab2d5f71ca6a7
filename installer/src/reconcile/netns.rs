//! Network namespaces of live pods.

use std::collections::HashSet;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::SockaddrLike;
use nix::sys::statfs::{NSFS_MAGIC, statfs};

/// Inode number of the namespace at a path; `None` where there is no namespace (any more).
pub fn inode(path: &Path) -> Option<u64> {
    // A path under /run/netns whose mount is gone is an ordinary empty file.
    let fs = statfs(path).ok()?;
    if fs.filesystem_type() != NSFS_MAGIC {
        return None;
    }
    fs::metadata(path).ok().map(|meta| meta.ino())
}

/// Inode numbers of the namespaces under a directory; `None` where it cannot be seen.
pub fn inodes(directory: &Path) -> Option<HashSet<u64>> {
    let entries = fs::read_dir(directory).ok()?;
    Some(entries.filter_map(|e| inode(&e.ok()?.path())).collect())
}

/// The namespaces under a directory, each with the addresses in it; one that
/// cannot be looked into is left out.
pub fn all(directory: &Path) -> Vec<(PathBuf, HashSet<IpAddr>)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|e| e.path()).filter(|p| inode(p).is_some());
    let looked = paths.filter_map(|path| match addresses(&path) {
        Ok(found) => Some((path, found)),
        Err(e) => {
            log::debug!("left out: {e:#}");
            None
        }
    });
    looked.collect()
}

/// Those of the namespaces under a directory and at the paths that are wanted by their inode
/// number, each once.
pub fn open_all<'a>(
    directory: &Path,
    paths: impl Iterator<Item = &'a Path>,
    wanted: impl Iterator<Item = u64>,
) -> Vec<File> {
    let mut wanted: HashSet<u64> = wanted.collect();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .chain(paths.map(Path::to_owned))
        .filter(|path| inode(path).is_some_and(|inode| wanted.remove(&inode)))
        .filter_map(|path| File::open(path).ok())
        .collect()
}

/// Addresses of every interface in the namespace at a path.
///
/// # Errors
///
/// Where the namespace cannot be opened or entered.
pub fn addresses(path: &Path) -> Result<HashSet<IpAddr>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    // A thread of its own: the one that enters a namespace stays there until it ends.
    let inside = thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET).context("cannot enter it")?;
            let all = getifaddrs().context("cannot list its addresses")?;
            Ok(all
                .filter_map(|a| a.address.as_ref().and_then(ip))
                .collect())
        });
    match inside.context("cannot start a thread")?.join() {
        Ok(found) => found
            .map_err(|e: anyhow::Error| e.context(format!("network namespace {}", path.display()))),
        Err(_) => bail!(anyhow!("looking into {} failed", path.display())),
    }
}

fn ip(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    use nix::sys::socket::AddressFamily::{Inet, Inet6};
    match address.family()? {
        Inet => address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip())),
        Inet6 => address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{inode, inodes, open_all};
    use std::path::Path;

    #[test]
    fn own_namespace_and_what_is_none() {
        assert!(inode(Path::new("/proc/self/ns/net")).is_some());
        assert_eq!(inode(Path::new("/proc/self/status")), None);
        assert_eq!(inode(Path::new("/proc/none")), None);
        assert!(inodes(Path::new("/proc/self/ns")).unwrap().len() > 1);
        assert!(inodes(Path::new("/proc/none")).is_none());
    }

    #[test]
    fn wanted_namespaces_are_opened_once() {
        let own = Path::new("/proc/self/ns/net");
        let open = |wanted: Option<u64>| {
            let paths = [own].into_iter();
            open_all(Path::new("/proc/self/ns"), paths, wanted.into_iter()).len()
        };
        assert_eq!(open(inode(own)), 1);
        assert_eq!(open(None), 0);
    }
}

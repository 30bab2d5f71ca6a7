//! Network namespaces of live pods.

use std::collections::{HashMap, HashSet};
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
use sockway_common::addr::IpKey;
use sockway_datapath::host;

use super::plan::Cached;

/// Inode number of the namespace at a path; `None` where there is no namespace (any more).
pub fn inode(path: &Path) -> Option<u64> {
    // A path under /run/netns whose mount is gone is an ordinary empty file.
    let fs = statfs(path).ok()?;
    if fs.filesystem_type() != NSFS_MAGIC {
        return None;
    }
    fs::metadata(path).ok().map(|meta| meta.ino())
}

/// The network namespaces that can be seen from here, wherever runtimes keep them.
#[derive(Clone, Debug, Default)]
pub struct Places {
    directories: Vec<PathBuf>,
    /// By inode number.
    found: HashMap<u64, PathBuf>,
    /// Whether these are all of the node's: the processes of the node can be seen, and its mounts.
    pub complete: bool,
}

/// Inode number of the first PID namespace (`PROC_PID_INIT_INO` of `include/linux/proc_ns.h`).
const FIRST_PIDS: u64 = 0xEFFF_FFFC;

impl Places {
    /// Looks into the directories, at every mount, and at every process.
    pub fn find(directories: &[PathBuf]) -> Self {
        let mut found = HashMap::new();
        let mut add = |path: PathBuf| {
            if let Some(inode) = inode(&path) {
                found.entry(inode).or_insert(path);
            }
        };
        for directory in directories {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            entries.for_each(|entry| add(entry.path()));
        }
        for at in mounts("/proc/self/mountinfo").unwrap_or_default() {
            add(at);
        }
        let of_node = mounts("/proc/1/mountinfo");
        let mut complete = fs::metadata("/proc/self/ns/pid")
            .is_ok_and(|meta| meta.ino() == FIRST_PIDS)
            && of_node.is_some();
        for at in of_node.into_iter().flatten() {
            // Seen through the first process's root: the node's mounts, also from a container.
            let below = at.strip_prefix("/").unwrap_or(&at).to_owned();
            add(Path::new("/proc/1/root").join(below));
        }
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes {
            let name = process.file_name();
            if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            let path = process.path().join("ns/net");
            match fs::metadata(&path) {
                Ok(_) => add(path),
                // One that has just ended hides nothing.
                Err(e) => complete &= e.kind() == std::io::ErrorKind::NotFound,
            }
        }
        Self {
            directories: directories.to_owned(),
            found,
            complete,
        }
    }

    /// Inode numbers of all.
    pub fn inodes(&self) -> HashSet<u64> {
        self.found.keys().copied().collect()
    }

    /// Whether the namespace with that inode number was looked into and has none of these addresses: the kernel hands
    /// the numbers of namespaces that are gone out again.
    pub fn is_anothers(&self, inode: u64, ips: &[IpKey]) -> bool {
        let Some(Ok(there)) = self.found.get(&inode).map(|path| addresses(path)) else {
            return false;
        };
        !ips.is_empty() && !ips.iter().any(|ip| there.contains(&IpAddr::from(*ip)))
    }

    /// What can be said of an attachment whose namespace a cache has at `path`.
    pub fn of(&self, path: &Path) -> Cached {
        if let Some(inode) = inode(path) {
            return Cached::At(inode);
        }
        let directory = path.parent().unwrap_or(Path::new(""));
        let gone = fs::symlink_metadata(path)
            .is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
            && self.directories.iter().any(|d| same(d, directory))
            && directory.is_dir();
        if gone {
            Cached::Gone
        } else {
            Cached::Somewhere
        }
    }

    /// Each with the addresses in it; one that cannot be looked into is left out.
    pub fn addresses(&self) -> Vec<(PathBuf, HashSet<IpAddr>)> {
        let looked = self
            .found
            .values()
            .filter_map(|path| match addresses(path) {
                Ok(found) => Some((path.clone(), found)),
                Err(e) => {
                    log::debug!("left out: {e:#}");
                    None
                }
            });
        looked.collect()
    }
}

/// Whether two paths lead to one directory: /var/run is /run.
fn same(a: &Path, b: &Path) -> bool {
    a == b || fs::canonicalize(a).is_ok_and(|a| fs::canonicalize(b).is_ok_and(|b| a == b))
}

/// Mount points of namespaces in a table of mounts; `None` where it cannot be read.
fn mounts(table: &str) -> Option<Vec<PathBuf>> {
    let text = fs::read_to_string(table).ok()?;
    Some(text.lines().filter_map(namespace).collect())
}

/// `40 32 0:4 net:[4026532177] /run/netns/a rw shared:9 - nsfs nsfs rw`
fn namespace(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    filesystem.starts_with("nsfs ").then_some(())?;
    let mut fields = mount.split(' ').skip(3);
    fields.next()?.starts_with("net:[").then_some(())?;
    Some(PathBuf::from(host::unescape(fields.next()?)))
}

/// Those of the namespaces in directories, at paths and at mounts that are wanted by their inode number, each once.
pub fn open_all<'a>(
    directories: &[PathBuf],
    paths: impl Iterator<Item = &'a Path>,
    wanted: impl Iterator<Item = u64>,
) -> Vec<File> {
    let mut wanted: HashSet<u64> = wanted.collect();
    let entries = directories.iter().filter_map(|d| fs::read_dir(d).ok());
    let found = entries.flatten().flatten().map(|entry| entry.path());
    found
        .chain(paths.map(Path::to_owned))
        .chain(mounts("/proc/self/mountinfo").unwrap_or_default())
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
    use super::{Places, inode, namespace, open_all};
    use crate::reconcile::plan::Cached;
    use std::path::{Path, PathBuf};

    #[test]
    fn own_namespace_and_what_is_none() {
        assert!(inode(Path::new("/proc/self/ns/net")).is_some());
        assert_eq!(inode(Path::new("/proc/self/status")), None);
        assert_eq!(inode(Path::new("/proc/none")), None);
        let places = Places::find(&["/proc/self/ns".into(), "/proc/none".into()]);
        let own = inode(Path::new("/proc/self/ns/net")).unwrap();
        assert!(places.inodes().contains(&own));
        assert_eq!(places.of(Path::new("/proc/self/ns/net")), Cached::At(own));
        for (path, seen) in [
            ("/proc/self/ns/none", Cached::Gone),
            ("/proc/none/cni-1", Cached::Somewhere),
            ("/run/elsewhere/cni-1", Cached::Somewhere),
            ("", Cached::Somewhere),
        ] {
            assert_eq!(places.of(Path::new(path)), seen, "{path}");
        }
    }

    #[test]
    fn mounts_of_namespaces() {
        let line = r"40 32 0:4 net:[4026532177] /run/netns/a\040b rw shared:9 - nsfs nsfs rw";
        assert_eq!(namespace(line), Some(PathBuf::from("/run/netns/a b")));
        for other in [
            "40 32 0:4 mnt:[4026532177] /x rw - nsfs nsfs rw",
            "40 32 0:4 / /x rw - tmpfs tmpfs rw",
            "",
        ] {
            assert_eq!(namespace(other), None);
        }
    }

    #[test]
    fn wanted_namespaces_are_opened_once() {
        let own = Path::new("/proc/self/ns/net");
        let open = |wanted: Option<u64>| {
            let paths = [own].into_iter();
            open_all(&[], paths, wanted.into_iter()).len()
        };
        assert_eq!(open(inode(own)), 1);
        assert_eq!(open(None), 0);
    }
}

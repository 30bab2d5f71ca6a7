//! Facts about the host: cgroup2, bpffs, kernel release.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags};
use nix::sys::statfs::{BPF_FS_MAGIC, CGROUP2_SUPER_MAGIC, statfs};

use sockway_common::config::{self, DEFAULT_TCP_EVERY};

use crate::Error;

const MOUNTS: &str = "/proc/self/mounts";
/// After how many seconds conntrack forgets an established connection, in this network namespace.
const CONNTRACK_TIMEOUT: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";

/// Mount points of a file system type, in mount order, octal escapes undone.
fn mounts_of(fstype: &str) -> Result<Vec<PathBuf>, Error> {
    let text = fs::read_to_string(MOUNTS).map_err(|e| Error::io("read", MOUNTS, e))?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == fstype).then(|| PathBuf::from(unescape(at)))
        })
        .collect())
}

/// Undoes `\040` and the like, as the kernel writes them into /proc/self/mounts.
#[must_use]
pub fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 4)
            .and_then(|c| u8::from_str_radix(c, 8).ok());
        if let Some(byte) = code {
            text.push(char::from(byte));
            rest = &rest[at + 4..];
        } else {
            text.push('\\');
            rest = &rest[at + 1..];
        }
    }
    text.push_str(rest);
    text
}

/// Where the cgroup2 hierarchy is mounted; `None` where it is not.
///
/// Its root goes before a part of it, such as a container sees when it has a
/// cgroup namespace of its own; then the shortest mount point.
///
/// # Errors
///
/// [`Error::Io`] where the mount table cannot be read.
pub fn find_cgroup2() -> Result<Option<PathBuf>, Error> {
    Ok(mounts_of("cgroup2")?
        .into_iter()
        .min_by_key(|at| (!is_cgroup2_root(at), at.as_os_str().len())))
}

/// True for the root of the hierarchy, as far as the caller's namespace shows it.
#[must_use]
pub fn is_cgroup2_root(path: &Path) -> bool {
    // Every cgroup but the root has this file.
    is_cgroup2(path) && !path.join("cgroup.type").exists()
}

/// True where `path` lies in a cgroup2 hierarchy.
#[must_use]
pub fn is_cgroup2(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Mounts the cgroup2 hierarchy at `at`, which is made where it is missing.
///
/// On a cgroup v1 host every task is in the root of that hierarchy, so
/// programs attached there see all of them.
///
/// # Errors
///
/// [`Error::Io`] with the path; needs `CAP_SYS_ADMIN`.
pub fn mount_cgroup2(at: &Path) -> Result<(), Error> {
    if is_cgroup2(at) {
        return Ok(());
    }
    fs::create_dir_all(at).map_err(|e| Error::io("create", at, e))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    nix::mount::mount(Some("none"), at, Some("cgroup2"), flags, None::<&str>)
        .map_err(|e| Error::io("mount cgroup2 at", at, e.into()))
}

/// Takes a mount made by [`mount_cgroup2`] off again, with its directory.
///
/// # Errors
///
/// [`Error::Io`] with the path. What is not mounted any more is no error.
pub fn unmount(at: &Path) -> Result<(), Error> {
    match nix::mount::umount2(at, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(e) => return Err(Error::io("unmount", at, e.into())),
    }
    match fs::remove_dir(at) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("remove", at, e)),
    }
}

/// Checks that `path`, or what of it exists, lies in a BPF file system.
///
/// # Errors
///
/// [`Error::NoBpffs`] with the mount command.
pub fn require_bpffs(path: &Path) -> Result<(), Error> {
    let existing = path
        .ancestors()
        .find(|p| p.exists())
        .unwrap_or(Path::new("/"));
    if statfs(existing).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC) {
        return Ok(());
    }
    let at = if path.starts_with("/sys/fs/bpf") {
        Path::new("/sys/fs/bpf")
    } else {
        path.parent().unwrap_or(path)
    };
    Err(Error::NoBpffs {
        path: path.to_owned(),
        at: at.to_owned(),
    })
}

/// [`config::Config::tcp_every`] for this node, seconds; the default where
/// conntrack is not there (yet).
#[must_use]
pub fn tcp_every() -> u32 {
    fs::read_to_string(CONNTRACK_TIMEOUT)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .map_or(DEFAULT_TCP_EVERY, config::tcp_every)
}

/// Raises `lo` of the network namespace that the caller is in.
///
/// # Errors
///
/// [`Error::Io`]; needs `CAP_NET_ADMIN` there.
#[cfg(feature = "loader")]
pub fn raise_loopback() -> Result<(), Error> {
    crate::sys::raise_loopback().map_err(|e| Error::io("raise the interface", "lo", e))
}

/// The effective capabilities in a `/proc/PID/status`, a bit for each number of
/// include/uapi/linux/capability.h; `None` where it names none.
#[must_use]
pub fn capabilities(status: &str) -> Option<u64> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    u64::from_str_radix(effective?.trim(), 16).ok()
}

/// The kernel's release, as `uname -r` prints it; empty where it cannot be read.
#[must_use]
pub fn kernel_release() -> String {
    named("osrelease")
}

/// Which build of it this is, as `uname -v` prints it; empty where it cannot be read.
#[must_use]
pub fn kernel_build() -> String {
    named("version")
}

fn named(what: &str) -> String {
    fs::read_to_string(Path::new("/proc/sys/kernel").join(what))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::{require_bpffs, unescape};
    use std::path::Path;

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescape(r"/plain\x"), r"/plain\x");
        assert_eq!(unescape(r"/end\04"), r"/end\04");
    }

    #[test]
    fn a_directory_elsewhere_is_refused_with_the_remedy() {
        let text = require_bpffs(Path::new("/proc/none/x"))
            .unwrap_err()
            .to_string();
        assert!(text.contains("mount -t bpf bpf"), "{text}");
    }
}

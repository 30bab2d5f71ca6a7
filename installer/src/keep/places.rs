//! The runtime's directories, which others remove, replace and mount over.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sockway_datapath::host;

/// How a directory is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// As its path says.
    There,
    /// It is not there (yet).
    Missing,
    /// What is mounted here was removed on the node: a package upgrade made it anew, and what is
    /// written here nobody sees. `successor`: the new one, where it can be reached from here.
    Removed {
        /// Another path to what is there now.
        successor: Option<PathBuf>,
    },
}

/// Looks at a directory.
pub fn look(directory: &Path) -> Place {
    let Ok(meta) = fs::metadata(directory) else {
        return Place::Missing;
    };
    let own = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let path = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let Some(removed) = removed(&path, &own) else {
        // A directory without a name left, which a process entered before: not by a path.
        return if meta.nlink() == 0 {
            Place::Removed { successor: None }
        } else {
            Place::There
        };
    };
    let of_node = fs::read_to_string("/proc/1/mountinfo").unwrap_or_default();
    let here = candidates(&removed, &own).into_iter();
    let there = candidates(&removed, &of_node).into_iter();
    let there = there.map(|at| Path::new("/proc/1/root").join(at.strip_prefix("/").unwrap_or(&at)));
    let successor = here.chain(there).find(|at| {
        let distinct = |new: fs::Metadata| (new.dev(), new.ino()) != (meta.dev(), meta.ino());
        !at.starts_with(&path) && at.is_dir() && fs::metadata(at).is_ok_and(distinct)
    });
    Place::Removed { successor }
}

/// A directory of a file system that was removed while it was mounted elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gone {
    device: String,
    /// Its path in the file system.
    path: PathBuf,
}

/// One line of a table of mounts (proc(5), mountinfo).
struct Mount {
    device: String,
    root: String,
    at: PathBuf,
}

fn mounts(table: &str) -> impl DoubleEndedIterator<Item = Mount> {
    table.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(2);
        Some(Mount {
            device: fields.next()?.to_owned(),
            root: host::unescape(fields.next()?),
            at: host::unescape(fields.next()?).into(),
        })
    })
}

/// What `path` leads to, where that was removed.
fn removed(path: &Path, table: &str) -> Option<Gone> {
    // The last of those that are nearest lies on top.
    let over = mounts(table).filter(|mount| path.starts_with(&mount.at));
    let Mount { device, root, at } = over.max_by_key(|mount| mount.at.as_os_str().len())?;
    let root = root.strip_suffix("//deleted")?;
    let below = path.strip_prefix(&at).ok()?;
    let path = if below.as_os_str().is_empty() {
        root.into()
    } else {
        Path::new(root).join(below)
    };
    Some(Gone { device, path })
}

/// Where the same path of the same file system can be found by other mounts.
fn candidates(gone: &Gone, table: &str) -> Vec<PathBuf> {
    mounts(table)
        .filter(|mount| mount.device == gone.device)
        .filter_map(|mount| Some(mount.at.join(gone.path.strip_prefix(&mount.root).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Gone, Place, candidates, look, removed};
    use std::path::{Path, PathBuf};

    const TABLE: &str = "\
22 1 253:0 / / rw - ext4 /dev/vda rw
40 22 253:0 /opt/cni/bin//deleted /host/bin rw - ext4 /dev/vda rw
41 22 0:30 /x /mnt rw - tmpfs tmpfs rw
42 22 253:0 /opt /opt2 rw - ext4 /dev/vda rw
";

    #[test]
    fn a_mount_of_a_removed_directory() {
        let gone = Gone {
            device: "253:0".to_owned(),
            path: "/opt/cni/bin".into(),
        };
        assert_eq!(removed(Path::new("/host/bin"), TABLE), Some(gone.clone()));
        assert_eq!(removed(Path::new("/host/binary"), TABLE), None);
        assert_eq!(removed(Path::new("/mnt/a"), TABLE), None);
        let paths = ["/opt/cni/bin", "/opt2/cni/bin"].map(PathBuf::from);
        assert_eq!(candidates(&gone, TABLE), paths);
        let below = removed(Path::new("/host/bin/a"), TABLE).unwrap();
        assert_eq!(below.path, Path::new("/opt/cni/bin/a"));
    }

    #[test]
    fn what_is_there_and_what_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()), Place::There);
        assert_eq!(look(&dir.path().join("none")), Place::Missing);
    }
}

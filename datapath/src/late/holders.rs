//! Which processes hold which sockets, by `/proc/PID/fd`.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::fcntl::readlinkat;
use sockway_common::end::EndRow;
use sockway_common::order::what;

use super::order::{self, Runner};
use super::{Namespaces, rest};
use crate::{Error, Pins};

/// The programs that hold these ends, as `name[pid]`.
///
/// # Errors
///
/// As for opening a pinned program and running it; [`Error::Late`] where processes cannot be seen.
pub fn holders(
    pins: &Pins,
    proc: &Path,
    namespaces: Namespaces<'_>,
    ends: &[(u64, EndRow)],
) -> Result<HashMap<u64, Vec<String>>, Error> {
    rest::require_sight(proc)?;
    let looks = ends
        .iter()
        .map(|(cookie, row)| (row.netns, order::of(what::LOOK, *cookie, row)));
    let seen = Runner::open(pins)?.run_in(namespaces, looks.collect())?;
    let inodes: HashMap<u64, u64> = seen.iter().map(|o| (o.cookie, o.inode)).collect();
    Ok(names(proc, &inodes))
}

/// Who holds sockets, by the cookies of which the inode numbers are given.
pub(super) fn names(proc: &Path, inodes: &HashMap<u64, u64>) -> HashMap<u64, Vec<String>> {
    let mut holders = Holders::default();
    holders.add(proc, &inodes.values().copied().collect());
    let name = |pid: &u32| {
        let name = fs::read_to_string(proc.join(format!("{pid}/comm")));
        format!("{}[{pid}]", name.unwrap_or_default().trim_end())
    };
    let named = |inode| {
        holders
            .pids
            .get(inode)
            .map(|pids| pids.iter().map(name).collect())
    };
    inodes
        .iter()
        .filter_map(|(cookie, inode)| Some((*cookie, named(inode)?)))
        .collect()
}

/// Which processes hold which sockets.
#[derive(Debug, Default)]
pub(super) struct Holders {
    pids: HashMap<u64, Vec<u32>>,
    /// Cgroups of processes that do not let themselves be looked at: each may hold what others of
    /// its container hold.
    hidden: HashSet<String>,
    /// Whether a process is in one of those.
    beside_hidden: HashMap<u32, bool>,
}

impl Holders {
    /// Adds those that hold one of the sockets now. A process that ends meanwhile holds nothing.
    pub(super) fn add(&mut self, proc: &Path, inodes: &HashSet<u64>) {
        for pid in numbers(proc) {
            let path = proc.join(format!("{pid}/fd"));
            let opened = File::open(&path).and_then(|fd| Ok((fd, fs::read_dir(&path)?)));
            let (directory, entries) = match opened {
                Ok(opened) => opened,
                Err(e) => {
                    self.hide(proc, pid, &e);
                    continue;
                }
            };
            for entry in entries.flatten() {
                // From the directory on: with tens of thousands of descriptors the way there is half of the cost.
                match readlinkat(&directory, entry.file_name().as_os_str()) {
                    Ok(target) => {
                        if let Some(inode) = socket(&target)
                            && inodes.contains(&inode)
                        {
                            let pids = self.pids.entry(inode).or_default();
                            if !pids.contains(&pid) {
                                pids.push(pid);
                            }
                        }
                    }
                    Err(e) => self.hide(proc, pid, &e.into()),
                }
            }
        }
    }

    /// Notes a process of which it cannot be said what it holds. Of one that has ended the kernel
    /// says that it may not be looked at either (`fs/proc/base.c` `proc_fd_access_allowed`).
    fn hide(&mut self, proc: &Path, pid: u32, error: &io::Error) {
        if error.kind() == io::ErrorKind::PermissionDenied {
            self.hidden.extend(cgroup(proc, pid));
        }
    }

    /// The processes that hold a socket; `None` where none is known, or one is in a cgroup with a
    /// process that hides.
    pub(super) fn of(&mut self, proc: &Path, inode: u64) -> Option<&[u32]> {
        let pids = self.pids.get(&inode)?;
        if self.hidden.is_empty() {
            return Some(pids);
        }
        let hidden = &self.hidden;
        let mut hides = |pid: &u32| {
            let beside = || cgroup(proc, *pid).is_some_and(|own| hidden.contains(&own));
            *self.beside_hidden.entry(*pid).or_insert_with(beside)
        };
        (!pids.iter().any(&mut hides)).then_some(pids)
    }
}

/// The entries of a directory of /proc that are numbers.
pub(super) fn numbers(directory: &Path) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The cgroups of a process, as `/proc/PID/cgroup` has them; `None` where it has ended.
fn cgroup(proc: &Path, pid: u32) -> Option<String> {
    fs::read_to_string(proc.join(format!("{pid}/cgroup"))).ok()
}

/// The inode number of the socket that a descriptor's link names.
fn socket(target: &OsStr) -> Option<u64> {
    let inode = target.to_str()?.strip_prefix("socket:[")?;
    inode.strip_suffix(']')?.parse().ok()
}

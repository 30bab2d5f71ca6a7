//! Waiting until no call on a socket can be under way that began before the
//! socket was put into the sockhash.
//!
//! A thread that entered `recv` before that looks at the TCP queue only, and
//! nothing in the kernel tells how far it has come: it may have been preempted
//! on its way to the socket's lock. Were bytes redirected meanwhile, it could
//! miss them and see the end of the stream instead. So every thread of every
//! process that holds the socket must have been seen at rest in another call
//! since: what it does after that it begins anew.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;

/// Inode number of the first PID namespace (`include/linux/proc_ns.h` `PROC_PID_INIT_INO`):
/// only from there every process can be seen.
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Between two looks at the threads.
const PAUSE: Duration = Duration::from_millis(2);

/// Calls in which a thread waits for something else than a socket's bytes.
///
/// None of these numbers is a call that reads in the 32-bit tables either.
const AT_REST: &[libc::c_long] = &[
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_restart_syscall,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_wait4,
    libc::SYS_waitid,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pause,
];

/// Checks that every process of the machine can be seen.
///
/// # Errors
///
/// [`Error::Existing`] in a PID namespace of its own.
pub(super) fn require_sight() -> Result<(), Error> {
    let own = fs::metadata("/proc/self/ns/pid").map_err(|e| Error::io("look at", "/proc", e))?;
    if own.ino() == FIRST_PID_NAMESPACE {
        return Ok(());
    }
    Err(Error::existing(
        "the processes of this node cannot be seen from here (hostPID: true)",
    ))
}

/// Which processes hold which sockets.
#[derive(Debug, Default)]
pub(super) struct Holders {
    pids: HashMap<u64, BTreeSet<u32>>,
    /// Cgroups of processes that do not let themselves be looked at: each may hold what others of
    /// its container hold.
    hidden: HashSet<String>,
}

impl Holders {
    /// Adds those that hold one of the sockets now. A process that ends meanwhile holds nothing.
    pub(super) fn add(&mut self, inodes: &HashSet<u64>) {
        for pid in numbers("/proc") {
            let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
                Ok(entries) => entries,
                Err(e) => {
                    self.hide(pid, &e);
                    continue;
                }
            };
            for entry in entries.flatten() {
                match fs::read_link(entry.path()) {
                    Ok(target) => {
                        if let Some(inode) = socket(&target)
                            && inodes.contains(&inode)
                        {
                            self.pids.entry(inode).or_default().insert(pid);
                        }
                    }
                    Err(e) => self.hide(pid, &e),
                }
            }
        }
    }

    /// Notes a process of which it cannot be said what it holds. Of one that has ended the kernel
    /// says that it may not be looked at either (`fs/proc/base.c` `proc_fd_access_allowed`).
    fn hide(&mut self, pid: u32, error: &io::Error) {
        if error.kind() == io::ErrorKind::PermissionDenied {
            self.hidden.extend(cgroup(pid));
        }
    }

    /// True where one of a socket's holders is in a cgroup with a process that hides.
    fn is_beside_hidden(&self, pids: &BTreeSet<u32>) -> bool {
        let hides = |pid: &u32| cgroup(*pid).is_some_and(|own| self.hidden.contains(&own));
        !self.hidden.is_empty() && pids.iter().any(hides)
    }

    /// The processes that hold a socket.
    fn of(&self, inode: u64) -> Option<&BTreeSet<u32>> {
        self.pids.get(&inode)
    }

    /// Waits until the sockets are quiet; those that are not in time are missing from the result.
    pub(super) fn quiet(&self, patience: Duration) -> HashSet<u64> {
        let own = nix::unistd::gettid().as_raw().unsigned_abs();
        let mut busy: HashSet<(u32, u32)> = HashSet::new();
        for &pid in self.pids.values().flatten() {
            let threads = numbers(&format!("/proc/{pid}/task"));
            // This thread is here, and in no call on a socket.
            busy.extend(threads.filter(|&t| t != own).map(|t| (pid, t)));
        }
        let start = Instant::now();
        loop {
            busy.retain(|&(pid, thread)| !at_rest(pid, thread));
            if busy.is_empty() || start.elapsed() > patience {
                break;
            }
            thread::sleep(PAUSE);
        }
        let processes: HashSet<u32> = busy.iter().map(|&(pid, _)| pid).collect();
        let quiet = |inode: &u64| {
            self.of(*inode)
                .filter(|pids| !self.is_beside_hidden(pids))
                .is_some_and(|pids| pids.iter().all(|pid| !processes.contains(pid)))
        };
        self.pids.keys().copied().filter(quiet).collect()
    }
}

/// The entries of a directory of /proc that are numbers.
fn numbers(directory: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The cgroups of a process, as `/proc/PID/cgroup` has them; `None` where it has ended.
fn cgroup(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()
}

/// The inode number of the socket that a descriptor's link names.
fn socket(target: &Path) -> Option<u64> {
    let inode = target.to_str()?.strip_prefix("socket:[")?;
    inode.strip_suffix(']')?.parse().ok()
}

/// True where the thread waits in a call of [`AT_REST`], or is gone.
fn at_rest(pid: u32, thread: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall")) {
        Ok(text) => rests(&text),
        Err(e) => e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH),
    }
}

/// Reads `/proc/PID/task/TID/syscall`: `running`, or the call's number and its arguments.
fn rests(text: &str) -> bool {
    text.split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .is_some_and(|call: libc::c_long| AT_REST.contains(&call))
}

#[cfg(test)]
mod tests {
    use super::rests;

    #[test]
    fn only_a_thread_in_another_call_rests() {
        let line = |call: libc::c_long| format!("{call} 0x5 0x7ffc 0x0 0x7ffc 0x7f00\n");
        assert!(rests(&line(libc::SYS_epoll_pwait)));
        assert!(rests(&line(libc::SYS_futex)));
        for call in [
            libc::SYS_read,
            libc::SYS_recvfrom,
            libc::SYS_recvmsg,
            libc::SYS_splice,
            libc::SYS_io_uring_enter,
            -1,
        ] {
            assert!(!rests(&line(call)), "{call}");
        }
        assert!(!rests("running\n"));
        assert!(!rests(""));
    }
}

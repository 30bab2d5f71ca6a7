//! Waiting until no read of a socket can be under way that began before it was put into the sockhash.
//!
//! A thread that entered `recv` before that looks at the TCP queue only, and
//! nothing in the kernel tells how far it has come: it may have been preempted
//! on its way to the socket's lock. Were bytes redirected meanwhile, it could
//! miss them and see the end of the stream instead. So every thread of every
//! process that holds the socket must have been seen in another call since: what
//! it does after that it begins anew. There are two ways to see that. A thread that
//! sleeps is seen in `/proc`. One that never sleeps is seen by the programs, where it
//! sends on a socket that takes part, or where a receiving call of its ends ([`Callers`]).

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sockway_common::order::Order;

use super::callers::Callers;
use super::holders::{Holders, numbers};
use super::waiting::{Thread, Waiting};
use crate::arch::WAIT_CALLS;
use crate::{Error, host};

/// A bit of `CapEff` (include/uapi/linux/capability.h).
const CAP_SYS_PTRACE: u64 = 1 << 19;
/// `PF_KTHREAD` of include/linux/sched.h.
const KERNEL_THREAD: u64 = 0x0020_0000;

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
];

/// Checks that every process of the node can be seen in `proc`.
///
/// # Errors
///
/// [`Error::Late`] where it shows another PID namespace than the first: only there process 2 is a
/// thread of the kernel (`kthreadd`). The same without the right to see what processes hold.
pub(super) fn require_sight(proc: &Path) -> Result<(), Error> {
    let second = fs::read_to_string(proc.join("2/stat"));
    if second.is_ok_and(|stat| is_kernel_thread(&stat)) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        return if may_trace(&status) {
            Ok(())
        } else {
            Err(Error::late(
                "what the node's processes hold cannot be seen: give it CAP_SYS_PTRACE",
            ))
        };
    }
    Err(Error::late(&format!(
        "the node's processes cannot be seen in {}: run with hostPID, or mount the host's /proc and name it",
        proc.display()
    )))
}

/// Whether a `/proc/PID/status` says that the process may look into those of other users
/// (`proc_fd_access_allowed` of fs/proc/base.c); one that says nothing may.
fn may_trace(status: &str) -> bool {
    host::capabilities(status).is_none_or(|effective| effective & CAP_SYS_PTRACE != 0)
}

/// Reads `/proc/PID/stat`: the name, which may hold anything, ends with the last parenthesis, and the
/// seventh word after it has the flags.
fn is_kernel_thread(stat: &str) -> bool {
    let words = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_ascii_whitespace());
    let flags = words.and_then(|mut words| words.nth(6)?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & KERNEL_THREAD != 0)
}

/// Ends that were joined late and are not seen at rest yet.
pub(super) struct Resting {
    proc: PathBuf,
    callers: Callers,
    /// Inode numbers of sockets, by cookie, and who held them before they were joined.
    inodes: HashMap<u64, u64>,
    before: Holders,
    waiting: Waiting,
}

impl Resting {
    pub(super) fn new(proc: PathBuf, callers: Callers) -> Self {
        Self {
            proc,
            callers,
            inodes: HashMap::new(),
            before: Holders::default(),
            waiting: Waiting::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn has(&self, cookie: u64) -> bool {
        self.waiting.has(cookie)
    }

    /// Notes who holds these sockets, which are about to be joined.
    pub(super) fn note(&mut self, seen: &[Order]) {
        let known = || seen.iter().filter(|order| order.inode != 0);
        self.inodes.extend(known().map(|o| (o.cookie, o.inode)));
        if require_sight(&self.proc).is_ok() {
            let inodes = known().map(|o| o.inode).collect();
            self.before.add(&self.proc, &inodes);
        }
    }

    /// One of them was joined.
    pub(super) fn add(&mut self, cookie: u64) {
        if self.inodes.contains_key(&cookie) {
            self.waiting.add(cookie);
        }
    }

    pub(super) fn forget(&mut self, cookie: u64) {
        self.waiting.forget(cookie);
    }

    /// Those whose threads were all seen elsewhere since they were joined; they are waited for no more.
    pub(super) fn rested(&mut self) -> Result<Vec<u64>, Error> {
        if !self.waiting.is_empty() && require_sight(&self.proc).is_err() {
            self.waiting.clear();
        }
        if self.waiting.is_empty() {
            self.waiting.clear();
            self.inodes.clear();
            self.before = Holders::default();
            self.callers.rest()?;
            return Ok(Vec::new());
        }
        self.find_threads()?;
        let rested = self.waiting.rested(&self.answered());
        if self.waiting.is_empty() {
            self.callers.rest()?;
        }
        Ok(rested)
    }

    /// What each thread has answered last; as good as the newest question where it sleeps.
    fn answered(&self) -> HashMap<Thread, u64> {
        // Each thread is looked at once, however many sockets it holds.
        let (busy, newest) = self.waiting.busy();
        let answered = |(pid, thread)| {
            let answered = self.callers.answered(thread);
            if answered < newest && at_rest(&self.proc, pid, thread) {
                return ((pid, thread), newest);
            }
            ((pid, thread), answered)
        };
        busy.into_iter().map(answered).collect()
    }

    /// Finds the threads of who holds the sockets that were joined since the last look, and asks for them.
    fn find_threads(&mut self) -> Result<(), Error> {
        let new = self.waiting.take_new();
        if new.is_empty() {
            return Ok(());
        }
        let question = self.callers.ask()?;
        let inodes = std::mem::take(&mut self.inodes);
        let mut holders = std::mem::take(&mut self.before);
        let joined = new.iter().filter_map(|cookie| inodes.get(cookie).copied());
        holders.add(&self.proc, &joined.collect());
        let mut ends = Vec::with_capacity(new.len());
        for cookie in new {
            let inode = inodes.get(&cookie).copied().unwrap_or_default();
            if let Some(pids) = holders.of(&self.proc, inode) {
                ends.push((cookie, pids.to_vec()));
            } else {
                // Nobody knows who holds it.
                self.waiting.forget(cookie);
            }
        }
        let own = nix::unistd::gettid().as_raw().unsigned_abs();
        // This thread is here, and in no call on a socket.
        let threads = |pid: u32| {
            let all = numbers(&self.proc.join(format!("{pid}/task")));
            all.filter(|thread| *thread != own).collect()
        };
        self.waiting.wait(question, ends, threads);
        Ok(())
    }
}

/// True where the thread waits in a call of [`AT_REST`], or is gone.
pub(super) fn at_rest(proc: &Path, pid: u32, thread: u32) -> bool {
    match fs::read_to_string(proc.join(format!("{pid}/task/{thread}/syscall"))) {
        Ok(text) => rests(&text),
        Err(e) => e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH),
    }
}

/// Reads `/proc/PID/task/TID/syscall`: `running`, or the call's number and its arguments.
fn rests(text: &str) -> bool {
    text.split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .is_some_and(|call: libc::c_long| AT_REST.contains(&call) || WAIT_CALLS.contains(&call))
}

#[cfg(test)]
mod tests {
    use super::{is_kernel_thread, may_trace, rests};

    #[test]
    fn the_right_to_trace_is_read() {
        assert!(may_trace("Name:\ta\nCapEff:\t000001fffeffffff\n"));
        assert!(!may_trace(
            "CapPrm:\t00000000000fffff\nCapEff:\t0000000000201002\n"
        ));
        assert!(may_trace(""));
    }

    #[test]
    fn names_do_not_make_a_kernel_thread() {
        assert!(is_kernel_thread("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0"));
        assert!(!is_kernel_thread("2 (kthreadd) S 1 2 2 0 -1 4194560 0 0"));
        assert!(!is_kernel_thread(
            "2 (a) S 0 0 0 0 -1 2129984) S 1 2 2 0 -1 4194560 0"
        ));
        assert!(!is_kernel_thread(""));
    }

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

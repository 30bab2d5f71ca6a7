//! Whether a program asks for a socket's bytes: a thread of it sleeps in a call that would give them, or
//! tell of them.
//!
//! The interest that an epoll set has in the socket says it: a program that does not want to read
//! takes `EPOLLIN` out, as Envoy does while what is behind it is full. `poll` and `select` have their
//! sets in the program's own memory, which nobody looks at here: those that wait so never ask.

use std::fs;
use std::path::Path;

use crate::arch::ASK_CALLS;

/// Of include/uapi/linux/eventpoll.h.
const EPOLLIN: u32 = 0x1;
const EPOLLPRI: u32 = 0x2;
const EPOLLRDNORM: u32 = 0x40;
const EPOLLRDHUP: u32 = 0x2000;
const EPOLLET: u32 = 1 << 31;

const EPOLL_CALLS: &[libc::c_long] = &[libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];
const READ_CALLS: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
];

/// Whether a thread asks for the bytes of the socket with this inode number.
pub(super) fn thread(proc: &Path, pid: u32, thread: u32, inode: u64) -> bool {
    let read = |name: &str| fs::read_to_string(proc.join(format!("{pid}/{name}")));
    let of = |name: &str| read(&format!("task/{thread}/{name}")).unwrap_or_default();
    let Some((call, file)) = call(&of("syscall")) else {
        return false;
    };
    if !sleeps(&of("stat"), &of("wchan")) {
        return false;
    }
    if READ_CALLS.contains(&call) {
        let target = fs::read_link(proc.join(format!("{pid}/fd/{file}")));
        return target.is_ok_and(|target| target.as_os_str() == &*format!("socket:[{inode}]"));
    }
    (EPOLL_CALLS.contains(&call) || ASK_CALLS.contains(&call))
        && read(&format!("fdinfo/{file}")).is_ok_and(|set| is_wanted(&set, inode))
}

/// Reads `/proc/PID/task/TID/syscall`: the call's number and its first argument.
fn call(text: &str) -> Option<(libc::c_long, u64)> {
    let mut words = text.split_ascii_whitespace();
    let call = words.next()?.parse().ok()?;
    let first = words.next()?.strip_prefix("0x")?;
    Some((call, u64::from_str_radix(first, 16).ok()?))
}

/// Whether a thread sleeps by its own will. One that was stopped (SIGSTOP, a debugger) or frozen (a
/// container that is paused) shows the call that it was taken out of: the first by its state, the
/// second by where it sleeps.
fn sleeps(stat: &str, wchan: &str) -> bool {
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_ascii_whitespace().next());
    let elsewhere = wchan.is_empty()
        || wchan == "0"
        || ["freez", "signal", "refrigerator", "ptrace"]
            .iter()
            .any(|place| wchan.contains(place));
    state == Some("S") && !elsewhere
}

/// Reads `/proc/PID/fdinfo/N` of an epoll set: whether it is to tell of the socket's bytes.
///
/// An edge-triggered program that registered for everything at once (Go, mio, nginx: with
/// `EPOLLRDHUP`; asio: with `EPOLLPRI`) leaves it so for ever, whether it wants to read or not: that
/// says nothing.
fn is_wanted(set: &str, inode: u64) -> bool {
    let inode = format!("ino:{inode:x}");
    let lines = set.lines().filter(|line| line.starts_with("tfd:"));
    let of_socket = lines.filter(|line| line.split_ascii_whitespace().any(|word| word == inode));
    of_socket
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            words.find(|word| *word == "events:")?;
            u32::from_str_radix(words.next()?, 16).ok()
        })
        .any(|events| {
            let for_ever = events & EPOLLET != 0 && events & (EPOLLRDHUP | EPOLLPRI) != 0;
            events & (EPOLLIN | EPOLLRDNORM) != 0 && !for_ever
        })
}

/// Whether nothing waits in the TCP queue of an established socket, which a process can see: what
/// comes by TCP tells its reader by TCP's own ways, so a reader that leaves it does not ask.
pub(super) fn tcp_is_empty(proc: &Path, pid: u32, inode: u64) -> bool {
    ["tcp", "tcp6"].iter().any(|name| {
        fs::read_to_string(proc.join(format!("{pid}/net/{name}")))
            .is_ok_and(|table| queue(&table, inode) == Some(0))
    })
}

/// Reads `/proc/net/tcp`: bytes in the queue of an established socket; `None` for any other.
fn queue(table: &str, inode: u64) -> Option<u64> {
    const ESTABLISHED: &str = "01";
    let inode = inode.to_string();
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if words.get(9) != Some(&&*inode) || words.get(3) != Some(&ESTABLISHED) {
            return None;
        }
        u64::from_str_radix(words.get(4)?.split_once(':')?.1, 16).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::{call, is_wanted, queue, sleeps};

    #[test]
    fn only_who_sleeps_by_itself_asks() {
        assert!(sleeps("7 (a b) S 1 7", "ep_poll"));
        assert!(sleeps("7 (a) T) S 1 7", "do_epoll_wait"));
        assert!(!sleeps("7 (a) T 1 7", "do_signal_stop"), "SIGSTOP");
        assert!(!sleeps("7 (a) t 1 7", "ptrace_stop"), "a debugger");
        assert!(!sleeps("7 (a) R 1 7", "ep_poll"));
        for frozen in ["do_freezer_trap", "get_signal", "__refrigerator"] {
            assert!(!sleeps("7 (a) S 1 7", frozen), "{frozen}");
        }
        assert!(!sleeps("7 (a) S 1 7", "0"), "nobody may see where");
        assert!(!sleeps("", ""));
    }

    #[test]
    fn calls_and_what_they_are_on() {
        assert_eq!(call("232 0x5 0x7ffc 0x10 0xffffffff\n"), Some((232, 5)));
        assert_eq!(call("running\n"), None);
        assert_eq!(call("-1 0x7ffc 0x0\n"), Some((-1, 0x7ffc)));
        assert_eq!(call(""), None);
    }

    #[test]
    fn an_interest_says_whether_bytes_are_wanted() {
        let set = |events: &str| {
            format!(
                "pos:\t0\nflags:\t02\ntfd:        4 events:       19 data: 4  pos:0 ino:9 sdev:9\n\
                 tfd:        5 events: {events:>8} data: 5  pos:0 ino:1f sdev:9\n"
            )
        };
        for (events, wanted, whose) in [
            ("19", true, "level-triggered, EPOLLIN"),
            ("18", false, "EPOLLIN taken out"),
            ("8000001d", true, "Envoy, which wants to read"),
            ("8000001c", false, "Envoy, which does not"),
            ("8000201d", false, "Go and mio, whatever they want"),
            ("80000007", false, "asio, whatever it wants"),
            ("40000000", false, "EPOLLONESHOT that was told"),
        ] {
            assert_eq!(is_wanted(&set(events), 0x1f), wanted, "{whose}");
        }
        assert!(!is_wanted(&set("19"), 0x2f), "another's");
    }

    #[test]
    fn what_waits_in_a_table() {
        let line = |state: &str, queue: &str| {
            format!(
                "  sl  local_address\n   0: 0100007F:1F90 0100007F:9C40 {state} 00000000:{queue} 00:00000000 00000000  1337        0 4711 1 0"
            )
        };
        assert_eq!(queue(&line("01", "00000000"), 4711), Some(0));
        assert_eq!(queue(&line("01", "0000000A"), 4711), Some(10));
        assert_eq!(queue(&line("08", "00000000"), 4711), None, "its end came");
        assert_eq!(queue(&line("01", "00000000"), 47), None);
    }
}

//! What is known of how an application reads its sockets (scope `auto`).
//!
//! Redirected bytes lie in a queue of their own. A reader that does not block
//! and uses `recv`-like calls cannot tell; one that blocks, splices or asks
//! for the queue's length can. So the sockets of an address are first watched
//! on plain TCP, and take part once enough of their reads were found fit.

/// An application's passive sockets: the listening address is the key.
pub const SERVER: u32 = 1;
/// An application's active sockets: the dialled address and the pod are the key.
pub const CLIENT: u32 = 2;
/// Beside one of the two in a row of `watched`: the socket is the other end,
/// where only urgent data that the application sent can be seen.
pub const OTHER_END: u32 = 0x100;
/// Beside one of the two in a row of `watched`: nothing is redirected to the socket any
/// more, so it is to leave the sockhash once its redirected queue is empty.
pub const LEAVES: u32 = 0x200;

/// Bits of a `readers` row. A row that is absent means: nothing known yet.
pub mod seen {
    /// Sockets were found with `O_NONBLOCK` and read by `recv`-like calls only, often enough.
    pub const FIT: u32 = 1;
    /// A socket was found without `O_NONBLOCK`.
    pub const BLOCKING: u32 = 2;
    /// A socket was read by something else than a `recv`-like call: splice, sendfile, `io_uring`.
    pub const OTHER_READ: u32 = 4;
    /// `ioctl(FIONREAD)`.
    pub const FIONREAD: u32 = 8;
    /// `SO_RCVLOWAT` above 1.
    pub const RCVLOWAT: u32 = 16;
    /// Calls or options that only TCP's own queues serve: `MSG_TRUNC`, `SO_PEEK_OFF`,
    /// `TCP_INQ`, the timestamp options, `SO_ZEROCOPY`.
    pub const TCP_ONLY: u32 = 32;
    /// Urgent data came or was sent.
    pub const URGENT: u32 = 64;
    /// Everything that keeps an application from being accelerated.
    pub const UNFIT: u32 = BLOCKING | OTHER_READ | FIONREAD | RCVLOWAT | TCP_ONLY | URGENT;
}

/// Value of `readers`, keyed by [`crate::pair::ReaderKey`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReaderRow {
    /// Bits of [`seen`].
    pub seen: u32,
    /// Fit reads that were seen, up to [`FIT_READS`].
    pub reads: u32,
}

/// Fit reads after which an address counts as fit.
pub const FIT_READS: u32 = 8;

/// What one read of a watched socket was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The socket's file has `O_NONBLOCK`.
    pub nonblocking: bool,
    /// The call was `read`, `readv`, `recvfrom`, `recvmsg` or `recvmmsg`; `None`: cannot tell.
    pub recv_like: Option<bool>,
    /// The socket's `SO_RCVLOWAT`, bytes.
    pub rcvlowat: u32,
    /// The call has a flag or the socket an option of [`seen::TCP_ONLY`].
    pub tcp_only: bool,
    /// Urgent data ever came in.
    pub urgent: bool,
}

/// Whether sockets of an address may take part.
#[inline(always)]
#[must_use]
pub const fn fit(row: &ReaderRow) -> bool {
    row.seen & seen::UNFIT == 0 && row.seen & seen::FIT != 0
}

/// The row after one more read.
#[inline(always)]
#[must_use]
pub const fn after_read(row: ReaderRow, read: Read) -> ReaderRow {
    let mut next = row;
    if !read.nonblocking {
        next.seen |= seen::BLOCKING;
    }
    if read.rcvlowat > 1 {
        next.seen |= seen::RCVLOWAT;
    }
    if read.tcp_only {
        next.seen |= seen::TCP_ONLY;
    }
    if read.urgent {
        next.seen |= seen::URGENT;
    }
    match read.recv_like {
        Some(true) if next.reads < FIT_READS => next.reads += 1,
        Some(false) => next.seen |= seen::OTHER_READ,
        _ => {}
    }
    if next.reads >= FIT_READS {
        next.seen |= seen::FIT;
    }
    next
}

#[cfg(feature = "user")]
crate::impl_pod!(ReaderRow);

const _: () = assert!(size_of::<ReaderRow>() == 8);

#[cfg(test)]
mod tests {
    use super::{FIT_READS, Read, ReaderRow, after_read, fit, seen};

    const FINE: Read = Read {
        nonblocking: true,
        recv_like: Some(true),
        rcvlowat: 1,
        tcp_only: false,
        urgent: false,
    };

    #[test]
    fn fit_after_enough_reads() {
        let mut row = ReaderRow::default();
        for _ in 0..FIT_READS {
            assert!(!fit(&row));
            row = after_read(row, FINE);
        }
        assert!(fit(&row));
    }

    #[test]
    fn one_bad_sign_is_enough_for_ever() {
        for bad in [
            Read {
                nonblocking: false,
                ..FINE
            },
            Read {
                recv_like: Some(false),
                ..FINE
            },
            Read {
                rcvlowat: 100,
                ..FINE
            },
            Read {
                tcp_only: true,
                ..FINE
            },
            Read {
                urgent: true,
                ..FINE
            },
        ] {
            let mut row = ReaderRow {
                seen: seen::FIT,
                reads: FIT_READS,
            };
            row = after_read(row, bad);
            for _ in 0..100 {
                row = after_read(row, FINE);
            }
            assert!(!fit(&row), "{bad:?}");
        }
        assert!(!fit(&ReaderRow {
            seen: seen::FIT | seen::FIONREAD,
            reads: FIT_READS
        }));
    }

    #[test]
    fn what_cannot_be_told_proves_nothing() {
        let mut row = ReaderRow::default();
        for _ in 0..100 {
            row = after_read(
                row,
                Read {
                    recv_like: None,
                    ..FINE
                },
            );
        }
        assert!(!fit(&row));
    }
}

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

/// Beside one of the two in a row of `watched`: a read gave bytes since the last one that
/// found nothing.
pub const GAVE: u32 = 0x400;
/// Beside one of the two in a row of `watched`: the last read left nothing, or found nothing.
pub const EMPTY: u32 = 0x800;

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
    /// A socket is in an epoll set with `EPOLLET`. Fit only with [`super::ReaderRow::ends`]:
    /// see [`super::after_end`].
    pub const EDGE: u32 = 128;
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
    pub reads: u16,
    /// How sure it is that the application reads until there is nothing more, up to [`FIT_ENDS`].
    pub ends: u8,
    /// How often in a row it did not, up to [`SHORTS`].
    pub shorts: u8,
}

/// Fit reads after which an address counts as fit.
pub const FIT_READS: u16 = 8;
/// [`ReaderRow::ends`] from which an edge-triggered application counts as reading to the end.
pub const FIT_ENDS: u8 = 8;
/// [`ReaderRow::shorts`] from which nobody looks for more: it never reads to the end.
pub const SHORTS: u8 = 64;

/// Slots of the map `learning`: numbers that say how learning goes on this node.
pub mod signal {
    /// How often an application turned out unfit: programs that face applications look again at
    /// theirs when it has grown.
    pub const TURNS: u32 = 0;
    /// How often a read came for which it matters where receiving calls end ([`super::asks`]):
    /// user space sees to it that this is seen while it grows.
    pub const ASKS: u32 = 1;
    /// 1 while that is seen; written by user space.
    pub const ENDS: u32 = 2;
    /// How many there are.
    pub const COUNT: usize = 3;
}

/// What one read of a watched socket was like.
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
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
    /// The socket is in an epoll set with `EPOLLET`, or nobody can tell.
    pub edge: bool,
    /// The read before left nothing, and the application was not seen to ask for more before it
    /// waited, which would have been seen.
    pub stopped_short: bool,
}

/// Whether sockets of an address may take part.
#[inline(always)]
#[must_use]
pub const fn fit(row: &ReaderRow) -> bool {
    row.seen & seen::UNFIT == 0
        && row.seen & seen::FIT != 0
        && (row.seen & seen::EDGE == 0 || row.ends >= FIT_ENDS)
}

/// Whether it matters for an address if its receiving calls find nothing more.
#[inline(always)]
#[must_use]
pub const fn asks(row: &ReaderRow) -> bool {
    row.seen & seen::UNFIT == 0
        && row.seen & seen::EDGE != 0
        && row.ends < FIT_ENDS
        && row.shorts < SHORTS
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
    if read.edge {
        next.seen |= seen::EDGE;
    }
    if read.stopped_short && next.ends < FIT_ENDS {
        next.ends = next.ends.saturating_sub(1);
        if next.shorts < SHORTS {
            next.shorts += 1;
        }
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

/// The row after a read that found nothing (`EAGAIN`), the first since one that gave bytes.
///
/// epoll(7) lets an edge-triggered reader take a read that gave less than was
/// asked for as the end. On a joined socket it is not: a read hands out one of
/// two queues, and where a direction went from redirection to TCP meanwhile the
/// other may hold bytes for which no event comes any more. So of these
/// readers only those take part that go on until `EAGAIN`, as Go and Envoy
/// do. nginx, Netty and tokio do not.
#[inline(always)]
#[must_use]
pub const fn after_end(row: ReaderRow) -> ReaderRow {
    let mut next = row;
    if next.ends < FIT_ENDS && next.shorts < SHORTS {
        next.shorts = 0;
        next.ends += 2;
        if next.ends > FIT_ENDS {
            next.ends = FIT_ENDS;
        }
    }
    next
}

#[cfg(feature = "user")]
crate::impl_pod!(ReaderRow);

const _: () = assert!(size_of::<ReaderRow>() == 8);

#[cfg(test)]
mod tests {
    use super::{FIT_READS, Read, ReaderRow, SHORTS, after_end, after_read, asks, fit, seen};

    const FINE: Read = Read {
        nonblocking: true,
        recv_like: Some(true),
        rcvlowat: 1,
        tcp_only: false,
        urgent: false,
        edge: false,
        stopped_short: false,
    };

    #[test]
    fn edge_triggered_readers_have_to_read_to_the_end() {
        const EDGE: Read = Read { edge: true, ..FINE };
        const SHORT: Read = Read {
            stopped_short: true,
            ..EDGE
        };
        let mut short = ReaderRow::default();
        for round in 0..100 {
            // One speculative read now and then is no proof.
            if round % 4 == 0 {
                short = after_end(short);
            }
            short = after_read(short, SHORT);
            assert!(!fit(&short), "round {round}");
        }
        let mut whole = ReaderRow::default();
        for _ in 0..FIT_READS {
            assert!(!fit(&whole));
            whole = after_end(after_read(whole, EDGE));
        }
        assert!(fit(&whole));
        assert!(fit(&after_read(whole, SHORT)), "proven for good");
        assert!(!asks(&whole), "nothing more to see");
    }

    #[test]
    fn who_never_reads_to_the_end_is_not_asked_for_ever() {
        let mut row = after_read(ReaderRow::default(), Read { edge: true, ..FINE });
        for round in 0..SHORTS {
            assert!(asks(&row), "round {round}");
            row = after_read(
                row,
                Read {
                    edge: true,
                    stopped_short: true,
                    ..FINE
                },
            );
        }
        assert!(!asks(&row));
        for _ in 0..100 {
            row = after_end(row);
        }
        assert!(!fit(&row) && !asks(&row), "given up for good");
        assert!(
            !asks(&after_read(ReaderRow::default(), FINE)),
            "level-triggered"
        );
    }

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
                ..ReaderRow::default()
            };
            row = after_read(row, bad);
            for _ in 0..100 {
                row = after_read(row, FINE);
            }
            assert!(!fit(&row), "{bad:?}");
        }
        assert!(!fit(&ReaderRow {
            seen: seen::FIT | seen::FIONREAD,
            reads: FIT_READS,
            ..ReaderRow::default()
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

//! What is known of how an application reads its sockets (scope `auto`).
//!
//! Redirected bytes lie in a queue of their own. A reader that does not block
//! and uses `recv`-like calls cannot tell; one that blocks, splices or asks
//! for the queue's length can. Nothing is redirected *into* an application
//! until sockets of its address were watched on plain TCP and found fit.

/// An application's passive sockets: the listening address is the key.
pub const SERVER: u32 = 1;
/// An application's active sockets: the dialled address and the pod are the key.
pub const CLIENT: u32 = 2;

/// Bits of a `readers` row. A row that is absent means: nothing known yet.
pub mod seen {
    /// A socket was found with `O_NONBLOCK` and read by `recv`-like calls only, often enough.
    pub const FIT: u32 = 1;
    /// A socket was found without `O_NONBLOCK`.
    pub const BLOCKING: u32 = 2;
    /// `splice` or `sendfile` from a socket.
    pub const SPLICE: u32 = 4;
    /// `ioctl(FIONREAD)`.
    pub const FIONREAD: u32 = 8;
    /// `SO_RCVLOWAT` above 1.
    pub const RCVLOWAT: u32 = 16;
    /// Everything that keeps an application from being accelerated.
    pub const UNFIT: u32 = BLOCKING | SPLICE | FIONREAD | RCVLOWAT;
}

/// Value of `readers`, keyed by [`crate::pair::ReaderKey`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReaderRow {
    /// Bits of [`seen`].
    pub seen: u32,
    /// Looks that found a socket non-blocking and drained, up to [`FIT_LOOKS`].
    pub looks: u32,
}

/// Looks at a watched socket before its address counts as fit. Each look is
/// at least one message that the application has read to its end.
pub const FIT_LOOKS: u32 = 4;

/// The verdict on a row.
#[inline(always)]
#[must_use]
pub const fn fit(row: &ReaderRow) -> bool {
    row.seen & seen::UNFIT == 0 && row.seen & seen::FIT != 0
}

/// The row after one look at a watched socket.
///
/// `nonblocking`: its file has `O_NONBLOCK`; `drained`: everything received
/// has been read; `lowat`: its `SO_RCVLOWAT`.
#[inline(always)]
#[must_use]
pub const fn after_look(row: ReaderRow, nonblocking: bool, drained: bool, lowat: u32) -> ReaderRow {
    let mut next = row;
    if !nonblocking {
        next.seen |= seen::BLOCKING;
    }
    if lowat > 1 {
        next.seen |= seen::RCVLOWAT;
    }
    if drained && next.looks < FIT_LOOKS {
        next.looks += 1;
    }
    if next.looks >= FIT_LOOKS {
        next.seen |= seen::FIT;
    }
    next
}

#[cfg(feature = "user")]
crate::impl_pod!(ReaderRow);

const _: () = assert!(size_of::<ReaderRow>() == 8);

#[cfg(test)]
mod tests {
    use super::{FIT_LOOKS, ReaderRow, after_look, fit, seen};

    #[test]
    fn fit_after_enough_looks() {
        let mut row = ReaderRow::default();
        for _ in 0..FIT_LOOKS {
            assert!(!fit(&row));
            row = after_look(row, true, true, 1);
        }
        assert!(fit(&row));
    }

    #[test]
    fn one_bad_sign_is_enough() {
        let mut row = ReaderRow { seen: seen::FIT, looks: FIT_LOOKS };
        row = after_look(row, false, true, 1);
        assert!(!fit(&row));
        assert!(!fit(&ReaderRow { seen: seen::FIT | seen::SPLICE, looks: FIT_LOOKS }));
        assert_ne!(after_look(ReaderRow::default(), true, false, 100).seen & seen::RCVLOWAT, 0);
    }

    #[test]
    fn unread_bytes_prove_nothing() {
        let mut row = ReaderRow::default();
        for _ in 0..100 {
            row = after_look(row, true, false, 1);
        }
        assert!(!fit(&row));
    }
}

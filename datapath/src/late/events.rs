//! What the programs tell (ring buffer `events`).

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

use aya::maps::{Map, MapData, RingBuf};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sockway_common::end::{Event, event};
use sockway_common::layout::{EVENTS, EVENTS_SIZE};

use crate::stats::{map_error, open};
use crate::{Error, Pins};

/// What stands before each event in the ring (`BPF_RINGBUF_HDR_SZ`), bytes.
const HEAD: usize = 8;

/// What was told since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Ends that may come in, by cookie.
    pub joins: Vec<u64>,
    /// Ends that are to leave.
    pub leaves: Vec<u64>,
    /// It matters where receiving calls end, and that is not seen.
    pub asks: bool,
    /// Every end is to be looked at.
    pub pass: bool,
}

/// The events of one node. There is one reader: who keeps the node.
#[expect(missing_debug_implementations, reason = "aya's ring buffer has none")]
pub struct Events(RingBuf<MapData>);

impl Events {
    /// Opens what is pinned.
    ///
    /// # Errors
    ///
    /// As for opening a pinned map.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        let map = Map::RingBuf(open(pins, EVENTS)?);
        let ring = RingBuf::try_from(map).map_err(map_error(EVENTS, "open"))?;
        Ok(Self(ring))
    }

    /// Waits until something was told that was not read, a signal comes, or the time is over.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn wait(&self, limit: Duration) -> Result<(), Error> {
        // SAFETY: the ring buffer owns the descriptor, and outlives the borrow, which ends with this call.
        let ring = unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) };
        let mut fds = [PollFd::new(ring, PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, limit) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(e) => Err(Error::io("wait for", "the programs' events", e.into())),
        }
    }

    /// Reads what was told.
    pub fn read(&mut self) -> Told {
        let (mut joins, mut leaves) = (BTreeSet::new(), BTreeSet::new());
        let mut told = Told::default();
        // No more than the ring holds: who tells without end does not keep the keeper here.
        for _ in 0..EVENTS_SIZE / (HEAD + size_of::<Event>()) {
            let Some(item) = self.0.next() else { break };
            if item.len() < size_of::<Event>() {
                continue;
            }
            // SAFETY: the item is as long as an event, which is plain old data; the read needs no
            // alignment.
            let Event { cookie, kind, .. } =
                unsafe { item.as_ptr().cast::<Event>().read_unaligned() };
            match kind {
                event::JOIN => {
                    joins.insert(cookie);
                }
                event::LEAVE => {
                    leaves.insert(cookie);
                }
                event::ASKS => told.asks = true,
                event::PASS => told.pass = true,
                _ => {}
            }
        }
        told.joins = joins.into_iter().collect();
        told.leaves = leaves.into_iter().collect();
        told
    }
}

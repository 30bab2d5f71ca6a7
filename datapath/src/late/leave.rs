//! Letting sockets out of the sockhash.
//!
//! Deleting a socket's key destroys what waits in its redirected queue, so `sockway_late` looks
//! first: nobody may redirect to it any more, no call on the other end is under way, and the queue
//! is empty. That cannot change again.

use std::collections::BTreeSet;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aya::maps::{Map, MapError, SockHash};
use sockway_common::counters::Reason;
use sockway_common::layout::SOCKETS;
use sockway_common::order::{seen, what};

use super::SOON;
use super::order::{self, Runner};
use crate::stats::{self, map_error, open};
use crate::switch;
use crate::{Error, Pins};

/// What became of the sockets that were to leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// How many left.
    pub out: usize,
    /// Cookies of those that stay: their programs leave bytes unread, or the other end's stands
    /// still in a call.
    pub stay: Vec<u64>,
}

/// Takes out of `leaving` who may go or is gone already; how many went, and how many had gone.
pub(super) fn let_out(
    pins: &Pins,
    runner: &Runner,
    leaving: &mut BTreeSet<u64>,
) -> Result<(usize, usize), Error> {
    if leaving.is_empty() {
        return Ok((0, 0));
    }
    let mut sockets = sockets(pins)?;
    let (mut out, mut gone) = (Vec::new(), Vec::new());
    for &cookie in leaving.iter() {
        let mut check = order::by_cookie(what::CHECK, cookie);
        runner.run(&mut check)?;
        if check.result == Reason::PeerGone as u32 {
            gone.push(cookie);
        } else if check.seen & seen::RESTS != 0 {
            match sockets.remove(&cookie) {
                Ok(()) => {
                    runner.run(&mut order::by_cookie(what::GONE, cookie))?;
                    out.push(cookie);
                }
                // It was closed meanwhile.
                Err(MapError::KeyNotFound) => gone.push(cookie),
                Err(MapError::SyscallError(e))
                    if matches!(
                        e.io_error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
                    ) =>
                {
                    gone.push(cookie);
                }
                Err(source) => return Err(map_error(SOCKETS, "take a socket out")(source)),
            }
        }
    }
    for &cookie in &gone {
        // Taken out by a run that ended before it could say so; where it was closed, it has no row.
        runner.run(&mut order::by_cookie(what::GONE, cookie))?;
    }
    for cookie in out.iter().chain(&gone) {
        leaving.remove(cookie);
    }
    Ok((out.len(), gone.len()))
}

/// Has every socket leave, once nothing is redirected any more ([`crate::switch`]).
///
/// # Errors
///
/// As for reading a pinned map and running the program.
pub fn leave_all(pins: &Pins, patience: Duration) -> Result<Left, Error> {
    let runner = Runner::open(pins)?;
    let mut leaving: BTreeSet<u64> = stats::cookies(pins)?.into_iter().collect();
    for &cookie in &leaving {
        runner.run(&mut order::by_cookie(what::CLOSE, cookie))?;
    }
    switch::settle(pins)?;
    let start = Instant::now();
    let mut left = Left::default();
    loop {
        left.out += let_out(pins, &runner, &mut leaving)?.0;
        if leaving.is_empty() || start.elapsed() > patience {
            left.stay = leaving.into_iter().collect();
            return Ok(left);
        }
        sleep(SOON);
    }
}

fn sockets(pins: &Pins) -> Result<SockHash<aya::maps::MapData, u64>, Error> {
    SockHash::try_from(Map::SockHash(open(pins, SOCKETS)?)).map_err(map_error(SOCKETS, "open"))
}

//! How fast one stream goes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use socket2::Socket;

use super::{Dial, Times};
use crate::net;
use crate::results::Measured;

/// Bytes sent on connections before the measured one.
const WARM_UP: u64 = 64 * 1024;
const WARM_UPS: usize = 8;
/// What the rate is counted in, bytes.
const UNIT: u64 = 1 << 20;

/// Whether to go on, after so many bytes.
pub(super) type More<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// The rate of `stream`, which hands back how many bytes it sent: MiB per second.
pub(super) fn rate(options: &Dial, stream: fn(&Dial, More<'_>) -> Result<u64>) -> Result<Measured> {
    for _ in 0..WARM_UPS {
        stream(options, &|sent| sent < WARM_UP)?;
    }
    let times = Times::new()?;
    let (started, limit) = (Instant::now(), Duration::from_millis(options.millis));
    let bytes = stream(options, &|_| started.elapsed() < limit)?;
    Ok(measured(&times, bytes, started.elapsed()))
}

/// What so many bytes in that time come to: MiB, and MiB per second.
pub(super) fn measured(times: &Times, bytes: u64, over: Duration) -> Measured {
    let mut measured = times.measured(over);
    measured.count = bytes / UNIT;
    #[expect(clippy::cast_precision_loss, reason = "MiB of one run")]
    let mib = measured.count as f64;
    measured.rate = mib / over.as_secs_f64();
    measured
}

/// A connection, in an epoll set as an event loop has it: how a socket is waited for that is in none can be
/// told only when it is read again, and these are read once.
pub(super) fn connect(options: &Dial) -> Result<(Socket, Epoll)> {
    let socket: Socket = net::connect(None, options.to)?;
    let events = Epoll::new(EpollCreateFlags::empty()).context("epoll_create1")?;
    events
        .add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))
        .context("epoll_ctl")?;
    Ok((socket, events))
}

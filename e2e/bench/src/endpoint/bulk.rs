//! One stream as fast as it goes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
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

/// Sends for a time, then waits until the other end has counted all of it. The
/// rate is in MiB per second.
pub(super) fn run(options: &Dial) -> Result<Measured> {
    for _ in 0..WARM_UPS {
        stream(options, |sent| sent < WARM_UP)?;
    }
    let times = Times::new()?;
    let (started, limit) = (Instant::now(), Duration::from_millis(options.millis));
    let bytes = stream(options, |_| started.elapsed() < limit)?;
    let over = started.elapsed();
    let mut measured = times.measured(over);
    measured.count = bytes / UNIT;
    #[expect(clippy::cast_precision_loss, reason = "MiB of one run")]
    let mib = measured.count as f64;
    measured.rate = mib / over.as_secs_f64();
    Ok(measured)
}

fn stream(options: &Dial, more: impl Fn(u64) -> bool) -> Result<u64> {
    let socket: Socket = net::connect(None, options.to)?;
    // As an event loop has it: how a socket is waited for that is in no epoll set can be told
    // only when it is read again, and these are read once.
    let events = Epoll::new(EpollCreateFlags::empty()).context("epoll_create1")?;
    events
        .add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))
        .context("epoll_ctl")?;
    let message = vec![0x5a; options.size];
    let mut sent = 0;
    while more(sent) {
        net::send(&socket, &message)?;
        sent += message.len() as u64;
    }
    socket.shutdown(std::net::Shutdown::Write)?;
    let mut answer = [0; 8];
    net::receive(&socket, &mut answer)?;
    let counted = u64::from_be_bytes(answer);
    ensure!(counted == sent, "{sent} bytes were sent, {counted} came");
    Ok(sent)
}

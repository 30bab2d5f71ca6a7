//! One stream as fast as it goes, and back: both directions at once.

use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
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
const BUFFER: usize = 256 * 1024;

/// Sends for a time and receives all of it back. The rate is in MiB per second of one direction.
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

fn stream(options: &Dial, more: impl Fn(u64) -> bool + Sync) -> Result<u64> {
    let socket: Socket = net::connect(None, options.to)?;
    // As in `bulk`: waited for as an event loop does.
    let events = Epoll::new(EpollCreateFlags::empty()).context("epoll_create1")?;
    events
        .add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))
        .context("epoll_ctl")?;
    let message = vec![0x5a; options.size];
    let (sent, received) = thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<u64> {
            let mut sent = 0;
            while more(sent) {
                net::send(&socket, &message)?;
                sent += message.len() as u64;
            }
            socket.shutdown(Shutdown::Write).context("shutdown")?;
            Ok(sent)
        });
        let received = receive(&socket);
        let sent = sender.join().map_err(|_| anyhow!("panic in a sender"))??;
        anyhow::Ok((sent, received?))
    })?;
    ensure!(
        sent == received,
        "{sent} bytes were sent, {received} came back"
    );
    Ok(sent)
}

/// Bytes to the end of the stream.
fn receive(socket: &Socket) -> Result<u64> {
    let (mut buffer, mut bytes) = (vec![0; BUFFER], 0);
    loop {
        match net::some(socket, &mut buffer)? {
            0 => return Ok(bytes),
            got => bytes += got as u64,
        }
    }
}

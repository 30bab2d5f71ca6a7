//! One stream to a reader of nginx's kind, which sends a little back: the direction to it may
//! be held on TCP beside a redirected one.

use std::io::{ErrorKind, Read as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;
use sockway_testkit::carried::carried;

use super::{Pair, Times, pair, stream};
use crate::net;
use crate::results::Measured;

/// Bytes before each answer.
const ROUND: usize = 64 << 10;
/// Bytes of an answer.
const ANSWER: usize = 512;
/// Connections before the measured one, and rounds on each of them.
const WARM_UP: (usize, usize) = (3, 16);
/// Longer than anything takes, milliseconds.
const PATIENCE: u16 = 10_000;

/// Sends for a time. The rate is in MiB per second.
pub(super) fn run(options: &Pair) -> Result<Measured> {
    pair::one_cpu()?;
    let listener = net::listen(options.to)?;
    for _ in 0..WARM_UP.0 {
        stream(options, &listener, |rounds| rounds < WARM_UP.1)?;
    }
    let times = Times::new()?;
    let (started, limit) = (Instant::now(), Duration::from_millis(options.millis));
    let (bytes, carried) = stream(options, &listener, |_| started.elapsed() < limit)?;
    Ok(Measured {
        carried,
        ..stream::measured(&times, bytes, started.elapsed())
    })
}

/// Bytes sent, and the shares of those sent and received that TCP has not carried.
fn stream(
    options: &Pair,
    listener: &Socket,
    more: impl Fn(usize) -> bool,
) -> Result<(u64, Option<[f64; 2]>)> {
    let (client, server) = pair::joined(options, listener)?;
    let reader = thread::spawn(move || read(&server));
    let message = vec![0x5a; options.size];
    let (mut answer, mut rounds) = ([0; ANSWER], 0);
    while more(rounds) {
        for _ in 0..ROUND / options.size {
            net::send(&client, &message)?;
        }
        net::receive(&client, &mut answer)?;
        rounds += 1;
    }
    let sent = (rounds * (ROUND / options.size) * options.size) as u64;
    let received = (rounds * ANSWER) as u64;
    let shares = carried(&client).map(|(came, went)| [share(went, sent), share(came, received)]);
    drop(client);
    reader.join().map_err(|_| anyhow!("panic in a reader"))??;
    Ok((sent, shares))
}

/// What is missing of all.
fn share(carried: u64, all: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "bytes of one run")]
    let share = all.saturating_sub(carried) as f64 / all.max(1) as f64;
    share
}

/// Edge-triggered; a read that does not fill the buffer is the end of what is there.
fn read(server: &Socket) -> Result<()> {
    let events = Epoll::new(EpollCreateFlags::empty()).context("epoll_create1")?;
    let kind = EpollFlags::EPOLLIN | EpollFlags::EPOLLET | EpollFlags::EPOLLRDHUP;
    events
        .add(server, EpollEvent::new(kind, 0))
        .context("epoll_ctl")?;
    let (mut buffer, mut bytes) = (vec![0; ROUND / 2], 0);
    let answer = [0x5a; ANSWER];
    loop {
        let mut happened = [EpollEvent::empty()];
        let got = events.wait(&mut happened, EpollTimeout::from(PATIENCE));
        if got.context("epoll_wait")? == 0 {
            bail!("hang: nothing for {PATIENCE} ms after {bytes} bytes of a round");
        }
        loop {
            let read = match { server }.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("receive"),
            };
            bytes += read;
            while bytes >= ROUND {
                bytes -= ROUND;
                net::send(server, &answer)?;
            }
            if read < buffer.len() {
                break;
            }
        }
    }
}

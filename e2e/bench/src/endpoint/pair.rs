//! One hop with both ends in one process.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use socket2::Socket;

use super::{Kind, Pair, Times};
use crate::net;
use crate::results::Measured;

/// Connections before the measured one, from which the datapath learns how this program reads.
const WARM_UP: usize = 3;
/// Round trips on each of them, and before measuring begins.
const TRIPS: usize = 32;

/// Ping-pong.
pub(super) fn run(options: &Pair) -> Result<Measured> {
    one_cpu()?;
    let (client, server) = ends(options)?;
    let size = options.size;
    let echo = std::thread::spawn(move || net::echo(&server, size));
    let mut message = vec![0x5a; size];
    let mut trip = || -> Result<()> {
        net::send(&client, &message)?;
        net::receive(&client, &mut message)
    };
    for _ in 0..TRIPS {
        trip()?;
    }
    let mut times = Times::new()?;
    let (started, limit) = (Instant::now(), Duration::from_millis(options.millis));
    while started.elapsed() < limit {
        let asked = Instant::now();
        trip()?;
        times.note(asked);
    }
    let measured = times.measured(started.elapsed());
    drop(client);
    echo.join().map_err(|_| anyhow!("panic in the echo"))??;
    Ok(measured)
}

/// Both threads on the first CPU that this process may use.
pub(super) fn one_cpu() -> Result<()> {
    let allowed = nix::sched::sched_getaffinity(Pid::from_raw(0)).context("sched_getaffinity")?;
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(first.context("no CPU")?).context("CPU_SET")?;
    sched_setaffinity(Pid::from_raw(0), &one).context("sched_setaffinity")
}

fn ends(options: &Pair) -> Result<(Socket, Socket)> {
    if options.kind == Kind::Unix {
        let (a, b) = UnixStream::pair().context("socketpair")?;
        for end in [&a, &b] {
            end.set_nonblocking(true).context("O_NONBLOCK")?;
        }
        let socket = |stream: UnixStream| Socket::from(std::os::fd::OwnedFd::from(stream));
        return Ok((socket(a), socket(b)));
    }
    let listener = net::listen(options.to)?;
    warm_up(options, &listener)?;
    joined(options, &listener)
}

/// Several requests on each connection, each read until there is nothing more: so the program is
/// known to have no use for the length of its queue, and may take part on every kernel.
fn warm_up(options: &Pair, listener: &Socket) -> Result<()> {
    for _ in 0..WARM_UP {
        let (client, server) = joined(options, listener)?;
        let mut message = vec![0; 64];
        for _ in 0..TRIPS {
            net::send(&client, &message)?;
            net::receive(&server, &mut message)?;
            net::finds_nothing(&server)?;
            net::send(&server, &message)?;
            net::receive(&client, &mut message)?;
            net::finds_nothing(&client)?;
        }
    }
    Ok(())
}

pub(super) fn joined(options: &Pair, listener: &Socket) -> Result<(Socket, Socket)> {
    let client = net::connect(Some(options.from), options.to)?;
    Ok((client, net::accept(listener)?))
}

/// New connections, one request each, on one CPU; the time of a connection is
/// from `connect` to the answer.
pub(super) fn knock(options: &Pair) -> Result<Measured> {
    one_cpu()?;
    let listener = net::listen(options.to)?;
    warm_up(options, &listener)?;
    let mut message = vec![0x5a; options.size];
    let mut times = Times::new()?;
    let (started, limit) = (Instant::now(), Duration::from_millis(options.millis));
    while started.elapsed() < limit {
        let asked = Instant::now();
        one(options, &listener, &mut message)?;
        times.note(asked);
    }
    Ok(times.measured(started.elapsed()))
}

fn one(options: &Pair, listener: &Socket, message: &mut [u8]) -> Result<()> {
    let (client, server) = joined(options, listener)?;
    (&client).write_all(message).context("send")?;
    net::receive(&server, message)?;
    (&server).write_all(message).context("send")?;
    net::receive(&client, message)?;
    // Closed in this order: it is not the client's port that waits, of which there are few.
    drop(server);
    ended(&client)
}

/// Waits for the end of the stream.
fn ended(mut client: &Socket) -> Result<()> {
    let more = client.read(&mut [0]).context("receive")?;
    ensure!(more == 0, "more than what was sent");
    Ok(())
}

/// The time of `connect()` alone, on one CPU.
pub(super) fn reach(options: &Pair) -> Result<Measured> {
    one_cpu()?;
    let listener = net::listen(options.to)?;
    warm_up(options, &listener)?;
    let mut times = Times::new()?;
    let (started, limit) = (Instant::now(), Duration::from_millis(options.millis));
    while started.elapsed() < limit {
        let client = net::socket(Some(options.from), options.to)?;
        let asked = Instant::now();
        net::establish(&client, options.to)?;
        times.note(asked);
        drop(net::accept(&listener)?);
        ended(&client)?;
    }
    Ok(times.measured(started.elapsed()))
}

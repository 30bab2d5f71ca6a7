//! Buffers are bounded: a sender waits for its reader.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::Error as Errno;
use nix::poll::PollFlags;
use sockway_testkit::pattern;

use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, Setup, beside, pause};
use crate::sys;
use crate::variant::Kind;

pub(super) const CASES: &[Case] = cases! {
    "a reader that does not read": "RFC 9293 3.8.6: the receive window stops the sender" => unread_app;
    "a peer that does not read": "RFC 9293 3.8.6: the application's sends stop being taken" => unread_envoy;
    "single bytes not read": "RFC 9293 3.8.6: also many small sends stop" => unread_bytes;
    "SO_SNDTIMEO": "socket(7): a send that waited so long gives up" => send_timeout, only(Kind::BLOCKING);
    "full, then drained": "send(2): a waiting send goes on when the peer reads" => drained;
    "EAGAIN when full": "send(2): EAGAIN or a part, then poll says when there is room" => full;
    "slow reader": "RFC 9293: a slow reader gets every byte" => slow_reader;
    "slow peer": "RFC 9293: a slow peer gets every byte" => slow_peer;
    "small SO_RCVBUF": "socket(7): bounds what waits at the reader" => small_receive, may_be_left();
    "small SO_SNDBUF": "socket(7): bounds what a send takes ahead of the peer" => small_send, may_be_left();
};

/// More than any buffer takes.
const TOO_MUCH: usize = 256 << 20;
/// How long nothing must be taken before a socket counts as full.
const QUIET: Duration = Duration::from_millis(300);
/// A full socket may take so many times as much or as little as in the plain run.
const FACTOR: u64 = 4;

/// Fills the connection, looks how much it took, then reads it all.
fn fill_and_read(t: &mut Scene, writer: &End, reader: &End, part: usize) -> Result<()> {
    let bytes = pattern::bytes(1, part);
    let taken = writer.fill(&bytes, TOO_MUCH, QUIET)?;
    t.amount("bytes taken", taken, FACTOR);
    let got = reader.take(taken)?;
    let right = got.len() == taken && got.chunks(part).all(|chunk| *chunk == bytes[..chunk.len()]);
    t.is("all of them arrive", right, true);
    writer.put(b"on")?;
    t.bytes("it goes on", &reader.take(2)?, b"on");
    Ok(())
}

fn unread_app(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    fill_and_read(t, &envoy, &app, 16 * 1024)
}

fn unread_envoy(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    fill_and_read(t, &app, &envoy, 16 * 1024)
}

fn unread_bytes(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    fill_and_read(t, &envoy, &app, 100)
}

fn send_timeout(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    app.socket()
        .set_write_timeout(Some(Duration::from_millis(300)))?;
    let part = pattern::bytes(2, 1 << 20);
    let taken = fill_up(&app, &part)?;
    let started = Instant::now();
    t.is(
        "a full socket's send",
        sys::send(&app, &part, 0),
        Err(Errno::EAGAIN),
    );
    t.took("time", started, 280..=2000);
    envoy.take(taken)?;
    t.is("send after reading", sys::send(&app, b"more", 0), Ok(4));
    t.bytes("Envoy reads", &envoy.take(4)?, b"more");
    Ok(())
}

/// Sends until nothing at all is taken; how many bytes were taken.
///
/// A peer's kernel goes on taking a little while its buffer grows.
fn fill_up(writer: &End, part: &[u8]) -> Result<usize> {
    let mut total = 0;
    loop {
        match writer.fill(part, TOO_MUCH, QUIET)? {
            0 => return Ok(total),
            more => total += more,
        }
    }
}

fn drained(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(3, 24 << 20);
    let got = thread::scope(|scope| -> Result<_> {
        let writer = scope.spawn(|| app.put(&sent));
        pause(300);
        t.is("the writer waits", writer.is_finished(), false);
        let got = envoy.take(sent.len())?;
        t.is(
            "the writer",
            writer.join().ok().context("the writer panicked")?,
            Ok(()),
        );
        Ok(got)
    })?;
    t.is("all arrives", got == sent, true);
    Ok(())
}

fn full(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let part = pattern::bytes(4, 16 * 1024);
    let taken = fill_up(&app, &part)?;
    t.is(
        "send",
        sys::send(&app, &part, libc::MSG_DONTWAIT),
        Err(Errno::EAGAIN),
    );
    t.is("poll", app.now(PollFlags::POLLOUT)?, PollFlags::empty());
    envoy.take(taken)?;
    t.is(
        "poll after reading",
        app.ready(PollFlags::POLLOUT)?,
        PollFlags::POLLOUT,
    );
    t.is(
        "send after reading",
        sys::send(&app, b"more", libc::MSG_DONTWAIT),
        Ok(4),
    );
    t.bytes("Envoy reads", &envoy.take(4)?, b"more");
    Ok(())
}

/// Sends 8 MiB to a reader that takes a rest after each part.
fn slowly(t: &mut Scene, writer: &End, reader: &End) -> Result<()> {
    let sent = pattern::bytes(5, 8 << 20);
    let (put, got) = beside(
        || writer.put(&sent),
        || {
            let mut got = Vec::new();
            while got.len() < sent.len() {
                let part = reader.take(256 * 1024)?;
                if part.is_empty() {
                    break;
                }
                got.extend(part);
                pause(10);
            }
            Ok(got)
        },
    )?;
    t.is("the writer", put, Ok(()));
    t.is("all arrives", got == sent, true);
    Ok(())
}

fn slow_reader(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    slowly(t, &envoy, &app)
}

fn slow_peer(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    slowly(t, &app, &envoy)
}

fn small_receive(t: &mut Scene) -> Result<()> {
    let setup = Setup {
        app: &|socket| sys::set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 8192),
        ..Setup::prepared()
    };
    let (app, envoy) = t.connect_with(&setup)?;
    t.is(
        "SO_RCVBUF",
        sys::get(&app, libc::SOL_SOCKET, libc::SO_RCVBUF),
        Ok(16_384),
    );
    sys::set(&envoy, libc::SOL_SOCKET, libc::SO_SNDBUF, 8192)?;
    fill_and_read(t, &envoy, &app, 1000)
}

fn small_send(t: &mut Scene) -> Result<()> {
    let setup = Setup {
        app: &|socket| sys::set(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, 8192),
        envoy: &|socket| sys::set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 8192),
        ..Setup::prepared()
    };
    let (app, envoy) = t.connect_with(&setup)?;
    t.is(
        "SO_SNDBUF",
        sys::get(&app, libc::SOL_SOCKET, libc::SO_SNDBUF),
        Ok(16_384),
    );
    fill_and_read(t, &app, &envoy, 1000)
}

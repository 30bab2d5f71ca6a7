//! How connections end well: half-close, shutdown, close.

use std::net::Shutdown::{Both, Read, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::Error as Errno;
use nix::poll::PollFlags;
use sockway_testkit::pattern;

use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, beside, pause};
use crate::sys::{self, Got};

pub(super) const CASES: &[Case] = cases! {
    "half-close, then read": "shutdown(2): after SHUT_WR the other direction goes on"
        => half_close_read, every_family();
    "half-close of the peer": "shutdown(2): after the peer's end of stream writing goes on" => half_close_write;
    "half-close while waiting": "recv(2): a waiting read returns what comes after SHUT_WR" => half_close_waiting;
    "end after data": "close(2): everything sent before arrives, then the end" => end_after_data;
    "end again": "recv(2): 0 at the end of the stream, every time" => end_again;
    "end wakes the reader": "recv(2): a waiting read returns 0 when the peer closes" => end_wakes;
    "shutdown in every order": "shutdown(2): both halves, either first" => orders;
    "SHUT_RD": "shutdown(2): reads return what is there, then 0" => shut_read;
    "SHUT_RDWR wakes the reader": "shutdown(2): a read waiting in another thread returns 0" => shut_both_wakes;
    "send after SHUT_WR": "send(2): EPIPE" => send_after_shutdown;
    "SO_LINGER 2": "socket(7): close returns once all is acknowledged, and all arrives" => lingers;
    "close and echo again": "a closed connection leaves nothing to the next" => reconnect;
};

/// A connection that is in use; the application's end first.
pub(super) fn warmed(t: &mut Scene) -> Result<(End, End)> {
    let (app, envoy) = t.connect()?;
    warm(t, &app, &envoy)?;
    Ok((app, envoy))
}

/// Some traffic both ways, so that the connection is in use.
pub(super) fn warm(t: &mut Scene, app: &End, envoy: &End) -> Result<()> {
    for round in 0..3 {
        let sent = pattern::bytes(round, 50);
        envoy.put(&sent)?;
        t.bytes("the application reads", &app.take(50)?, &sent);
        app.put(&sent)?;
        t.bytes("Envoy reads", &envoy.take(50)?, &sent);
    }
    Ok(())
}

fn half_close_read(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(1, 20_000);
    app.put(&sent)?;
    app.shutdown(Write)?;
    t.is(
        "Envoy reads to the end",
        envoy.rest() == (sent.clone(), Ok(())),
        true,
    );
    envoy.put(&sent)?;
    envoy.shutdown(Write)?;
    t.is(
        "the application reads to the end",
        app.rest() == (sent, Ok(())),
        true,
    );
    Ok(())
}

fn half_close_write(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(2, 20_000);
    envoy.put(&sent)?;
    envoy.shutdown(Write)?;
    t.is(
        "the application reads to the end",
        app.rest() == (sent.clone(), Ok(())),
        true,
    );
    for part in sent.chunks(5000) {
        app.put(part)?;
        pause(10);
    }
    drop(app);
    t.is(
        "Envoy reads to the end",
        envoy.rest() == (sent, Ok(())),
        true,
    );
    Ok(())
}

fn half_close_waiting(t: &mut Scene) -> Result<()> {
    for round in 0..5 {
        let (app, envoy) = t.connect()?;
        warm(t, &app, &envoy)?;
        app.shutdown(Write)?;
        let (read, ()) = beside(
            || app.rest(),
            || {
                pause(30);
                envoy.put(&pattern::bytes(round, 500))?;
                Ok(envoy.shutdown(Write)?)
            },
        )?;
        t.is("the reader ends", read.1, Ok(()));
        t.bytes("the reader", &read.0, &pattern::bytes(round, 500));
    }
    Ok(())
}

fn end_after_data(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(3, 500_000);
    let sends = || envoy.put(&sent).map(|()| drop(envoy));
    let (put, read) = beside(sends, || Ok(app.rest()))?;
    put?;
    t.is("the application ends", read.1, Ok(()));
    t.bytes("the application reads", &read.0, &sent);
    Ok(())
}

fn end_again(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    envoy.shutdown(Write)?;
    for _ in 0..5 {
        t.is("recv", app.recv(&mut [0; 10], 0), Ok(0));
    }
    Ok(())
}

/// What a waiting read returns when `act` is done meanwhile.
pub(super) fn waiting_read(app: &End, act: impl FnOnce() + Send) -> Result<Got<usize>> {
    let later = || {
        pause(100);
        act();
    };
    Ok(beside(later, || Ok(app.recv(&mut [0; 100], 0)))?.1)
}

fn end_wakes(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    t.is("recv", waiting_read(&app, || drop(envoy))?, Ok(0));
    Ok(())
}

fn orders(t: &mut Scene) -> Result<()> {
    for (first, second) in [
        (Write, Read),
        (Read, Write),
        (Both, Both),
        (Write, Both),
        (Read, Both),
    ] {
        let (app, envoy) = t.connect()?;
        warm(t, &app, &envoy)?;
        t.is("first", app.shutdown(first), Ok(()));
        t.is("second", app.shutdown(second), Ok(()));
        t.is("recv", app.recv(&mut [0; 1], 0), Ok(0));
        t.is("Envoy reads to the end", envoy.rest(), (vec![], Ok(())));
        t.is("Envoy shuts down", envoy.shutdown(Write), Ok(()));
        pause(50);
        let after = app.now(PollFlags::POLLIN)?;
        t.is("poll", after, PollFlags::POLLIN | PollFlags::POLLHUP);
    }
    Ok(())
}

fn shut_read(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    envoy.put(b"there")?;
    pause(50);
    app.shutdown(Read)?;
    t.is("poll", app.now(PollFlags::POLLIN)?, PollFlags::POLLIN);
    t.is("recv", app.recv(&mut [0; 10], 0), Ok(5));
    t.is("recv again", app.recv(&mut [0; 10], 0), Ok(0));
    app.put(b"still")?;
    t.bytes("writing goes on", &envoy.take(5)?, b"still");
    Ok(())
}

fn shut_both_wakes(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    let other = app.dup()?;
    let shut = || other.socket().shutdown(Both).unwrap_or_default();
    t.is("recv", waiting_read(&app, shut)?, Ok(0));
    t.is("Envoy reads to the end", envoy.rest(), (vec![], Ok(())));
    Ok(())
}

fn send_after_shutdown(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    app.shutdown(Write)?;
    t.is("send", sys::send(&app, b"x", 0), Err(Errno::EPIPE));
    envoy.put(b"back")?;
    t.bytes("the other direction", &app.take(4)?, b"back");
    Ok(())
}

fn lingers(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(5, 50_000);
    app.socket().set_linger(Some(Duration::from_secs(2)))?;
    app.put(&sent)?;
    let started = Instant::now();
    drop(app);
    t.took("close", started, 0..=1000);
    t.is(
        "Envoy reads to the end",
        envoy.rest() == (sent, Ok(())),
        true,
    );
    Ok(())
}

fn reconnect(t: &mut Scene) -> Result<()> {
    for _ in 0..20 {
        let (app, envoy) = t.connect()?;
        warm(t, &app, &envoy)?;
    }
    Ok(())
}

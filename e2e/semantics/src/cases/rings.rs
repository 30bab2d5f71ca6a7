//! `io_uring` instead of system calls.

use anyhow::Result;
use nix::Error as Errno;
use sockway_testkit::pattern;

use super::closing::warm;
use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, Unavailable, meanwhile, pause};
use crate::sys::{self, Got, Ring};
use crate::variant::Style;

pub(super) const CASES: &[Case] = cases! {
    "io_uring recv": "io_uring_enter(2) IORING_OP_RECV: as recv(2)" => receive, may_be_left();
    "io_uring recv waits": "io_uring_enter(2): completes when bytes come" => waits, may_be_left();
    "io_uring read": "io_uring_enter(2) IORING_OP_READ: as read(2)" => read, may_be_left();
    "io_uring send": "io_uring_enter(2) IORING_OP_SEND: as send(2)" => send, may_be_left();
    "io_uring MSG_WAITALL": "io_uring_enter(2): completes when all is there" => all, may_be_left();
    "io_uring poll": "io_uring_enter(2) IORING_OP_POLL_ADD: completes when bytes come" => polls, may_be_left();
};

fn ring() -> Result<Ring> {
    match Ring::new() {
        Err(Errno::ENOSYS | Errno::EPERM) => {
            Err(Unavailable("it has no io_uring, or forbids it").into())
        }
        ring => Ok(ring?),
    }
}

/// A non-blocking socket's requests say EAGAIN; its owner waits in between.
fn received(app: &End, ring: &mut Ring, buffer: &mut [u8], flags: i32) -> Got<usize> {
    app.patiently(nix::poll::PollFlags::POLLIN, || {
        ring.recv(app, buffer, flags)
    })
}

fn receive(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let mut ring = ring()?;
    let sent = pattern::bytes(1, 2000);
    for part in sent.chunks(100) {
        envoy.put(part)?;
        let mut buffer = [0; 200];
        let got = received(&app, &mut ring, &mut buffer, 0)?;
        t.bytes("recv", &buffer[..got], part);
    }
    envoy.shutdown(std::net::Shutdown::Write)?;
    t.is("the end", received(&app, &mut ring, &mut [0; 10], 0), Ok(0));
    Ok(())
}

fn waits(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let mut ring = ring()?;
    for _ in 0..5 {
        let got = meanwhile(&envoy, b"bytes", || {
            received(&app, &mut ring, &mut [0; 100], 0)
        })?;
        t.is("recv", got, Ok(5));
    }
    Ok(())
}

fn read(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let mut ring = ring()?;
    let sent = pattern::bytes(2, 50_000);
    envoy.put(&sent)?;
    let mut bytes = Vec::new();
    while bytes.len() < sent.len() {
        let mut buffer = vec![0; 7000];
        let got = app.patiently(nix::poll::PollFlags::POLLIN, || {
            ring.read(&app, &mut buffer)
        })?;
        bytes.extend_from_slice(&buffer[..got]);
    }
    t.bytes("read", &bytes, &sent);
    Ok(())
}

fn send(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let mut ring = ring()?;
    let sent = pattern::bytes(3, 20_000);
    for part in sent.chunks(1000) {
        t.is("send", ring.send(&app, part), Ok(1000));
    }
    t.bytes("Envoy reads", &envoy.take(sent.len())?, &sent);
    warm(t, &app, &envoy)
}

fn all(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let mut ring = ring()?;
    let sent = pattern::bytes(4, 800);
    envoy.put(&sent[..400])?;
    pause(50);
    let mut buffer = vec![0; 800];
    let wait = || received(&app, &mut ring, &mut buffer, libc::MSG_WAITALL);
    let got = meanwhile(&envoy, &sent[400..], wait)??;
    buffer.truncate(got);
    let got = buffer;
    if app.style() == Style::Blocking {
        t.bytes("recv", &got, &sent);
    } else {
        t.see("recv", got.len());
        t.bytes("the rest", &app.take(800 - got.len())?, &sent[got.len()..]);
    }
    Ok(())
}

fn polls(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let mut ring = ring()?;
    for _ in 0..3 {
        let ready = meanwhile(&envoy, b"bytes", || ring.poll(&app, libc::POLLIN))?;
        t.is("poll", ready, Ok(1));
        let mut buffer = [0; 10];
        t.is(
            "recv",
            sys::recv(&app, &mut buffer, libc::MSG_DONTWAIT),
            Ok(5),
        );
    }
    Ok(())
}

//! Flags and time-outs of the calls that read.

use std::time::Instant;

use anyhow::Result;
use nix::Error as Errno;
use nix::poll::PollFlags;
use sockway_testkit::pattern;

use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, beside, meanwhile, pause};
use crate::sys::{self, Got};

pub(super) const CASES: &[Case] = cases! {
    "MSG_PEEK": "recv(2): shows bytes and leaves them to be read" => peek;
    "MSG_PEEK more": "recv(2): shows later bytes too, once they are there" => peek_more;
    "MSG_WAITALL": "recv(2): waits for the full request, unless the socket is non-blocking" => waitall;
    "MSG_WAITALL and end": "recv(2): less at the stream's end" => waitall_end;
    "MSG_DONTWAIT": "recv(2): EAGAIN instead of waiting, for this call only" => dontwait;
    "MSG_TRUNC": "tcp(7): throws bytes away instead of copying them" => trunc, shown_first();
    "SO_RCVTIMEO": "socket(7): EAGAIN after the time, not before" => receive_timeout;
    "SO_RCVTIMEO and data": "socket(7): data within the time is returned" => receive_timeout_data;
    "SO_RCVLOWAT": "socket(7): poll and blocking reads wait for so many bytes" => low_water, may_be_left();
};

fn peek(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(1, 1000);
    envoy.put(&sent)?;
    let mut buffer = [0; 2000];
    for (what, size) in [("a part", 10), ("the same part", 10), ("all", 2000)] {
        let got = app.recv(&mut buffer[..size], libc::MSG_PEEK)?;
        t.bytes(
            &format!("peek at {what}"),
            &buffer[..got],
            &sent[..size.min(1000)],
        );
    }
    t.bytes("read a part", &app.take(400)?, &sent[..400]);
    let got = app.recv(&mut buffer, libc::MSG_PEEK)?;
    t.bytes("peek at the rest", &buffer[..got], &sent[400..]);
    t.bytes("read the rest", &app.take(600)?, &sent[400..]);
    let nothing = sys::recv(&app, &mut buffer, libc::MSG_PEEK | libc::MSG_DONTWAIT);
    t.is("peek at nothing", nothing, Err(Errno::EAGAIN));
    envoy.shutdown(std::net::Shutdown::Write)?;
    t.is(
        "peek at the end",
        app.recv(&mut buffer, libc::MSG_PEEK),
        Ok(0),
    );
    Ok(())
}

fn peek_more(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(2, 300);
    let mut buffer = [0; 300];
    for upto in [100, 200, 300] {
        envoy.put(&sent[upto - 100..upto])?;
        pause(50);
        let got = app.recv(&mut buffer, libc::MSG_PEEK)?;
        t.bytes(&format!("peek at {upto}"), &buffer[..got], &sent[..upto]);
    }
    t.bytes("read", &app.take(300)?, &sent);
    Ok(())
}

/// Sends a part now and another one in a while, reads them with one call.
fn two_parts(app: &End, envoy: &End, bytes: &[u8], flags: i32) -> Result<Got<Vec<u8>>> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    envoy.put(first)?;
    pause(50);
    let mut buffer = vec![0; bytes.len()];
    let got = meanwhile(envoy, second, || app.recv(&mut buffer, flags))?;
    Ok(got.map(|n| buffer[..n].to_vec()))
}

fn waitall(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(4, 800);
    let got = two_parts(&app, &envoy, &sent, libc::MSG_WAITALL)??;
    let first = if t.nonblocking() { 400 } else { 800 };
    t.bytes("MSG_WAITALL", &got, &sent[..first]);
    t.bytes("the rest", &app.take(800 - first)?, &sent[first..]);
    Ok(())
}

fn waitall_end(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    envoy.put(b"1234")?;
    envoy.shutdown(std::net::Shutdown::Write)?;
    pause(50);
    let mut buffer = [0; 8];
    t.is(
        "MSG_WAITALL",
        app.recv(&mut buffer, libc::MSG_WAITALL),
        Ok(4),
    );
    t.is("again", app.recv(&mut buffer, libc::MSG_WAITALL), Ok(0));
    Ok(())
}

fn dontwait(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let mut buffer = [0; 100];
    t.is(
        "nothing",
        sys::recv(&app, &mut buffer, libc::MSG_DONTWAIT),
        Err(Errno::EAGAIN),
    );
    envoy.put(b"some")?;
    pause(50);
    t.is(
        "some",
        sys::recv(&app, &mut buffer, libc::MSG_DONTWAIT),
        Ok(4),
    );
    t.is(
        "nothing again",
        sys::recv(&app, &mut buffer, libc::MSG_DONTWAIT),
        Err(Errno::EAGAIN),
    );
    let got = meanwhile(&envoy, b"more", || app.recv(&mut buffer, 0))?;
    t.is("a call without it waits", got, Ok(4));
    Ok(())
}

pub(super) fn trunc(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(5, 300);
    envoy.put(&sent)?;
    pause(50);
    let mut buffer = [0; 100];
    t.is(
        "with a buffer",
        app.recv(&mut buffer, libc::MSG_TRUNC),
        Ok(100),
    );
    t.is("which stays as it was", buffer == [0; 100], true);
    t.is(
        "without a buffer",
        sys::recv_discarding(&app, 100, 0),
        Ok(100),
    );
    t.bytes("the rest", &app.take(100)?, &sent[200..]);
    Ok(())
}

fn set_timeout(app: &End, ms: i64, option: i32) -> Got<()> {
    let value: [i64; 2] = [ms / 1000, ms % 1000 * 1000];
    let bytes: Vec<u8> = value.iter().flat_map(|part| part.to_ne_bytes()).collect();
    sys::set_bytes(app, libc::SOL_SOCKET, option, &bytes)
}

fn receive_timeout(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    set_timeout(&app, 200, libc::SO_RCVTIMEO)?;
    let range = if t.nonblocking() { 0..=150 } else { 190..=1500 };
    for _ in 0..2 {
        let started = Instant::now();
        t.is("recv", sys::recv(&app, &mut [0; 10], 0), Err(Errno::EAGAIN));
        t.took("time", started, range.clone());
    }
    envoy.put(b"after")?;
    t.bytes("later", &app.take(5)?, b"after");
    Ok(())
}

fn receive_timeout_data(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    set_timeout(&app, 3000, libc::SO_RCVTIMEO)?;
    meanwhile(&envoy, b"in time", || {
        let started = Instant::now();
        t.bytes("recv", &app.take(7)?, b"in time");
        t.took("time", started, 100..=2000);
        Ok(())
    })?
}

fn low_water(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    sys::set(&app, libc::SOL_SOCKET, libc::SO_RCVLOWAT, 100)?;
    let sent = pattern::bytes(6, 200);
    envoy.put(&sent[..50])?;
    pause(50);
    t.is(
        "poll with 50 bytes",
        app.now(PollFlags::POLLIN)?,
        PollFlags::empty(),
    );
    envoy.put(&sent[50..100])?;
    t.is(
        "poll with 100 bytes",
        app.ready(PollFlags::POLLIN)?,
        PollFlags::POLLIN,
    );
    t.bytes("read", &app.take(100)?, &sent[..100]);
    if !t.nonblocking() {
        let (read, ()) = beside(
            || app.recv(&mut [0; 200], 0),
            || {
                for part in sent[100..].chunks(50) {
                    pause(100);
                    envoy.put(part)?;
                }
                Ok(())
            },
        )?;
        t.is("a waiting recv", read, Ok(100));
    }
    Ok(())
}

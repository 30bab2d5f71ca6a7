//! Flags and options of the calls that read.

use std::io::IoSliceMut;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};
use nix::Error as Errno;
use nix::poll::PollFlags;

use crate::case::Case;
use crate::end::End;
use crate::payload;
use crate::scene::{Scene, pause};
use crate::sys::{self, Got};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "MSG_PEEK",
        "recv(2): shows bytes and leaves them to be read",
        peek,
    )
    .both(),
    Case::new(
        "MSG_PEEK more",
        "recv(2): shows later bytes too, once they are there",
        peek_more,
    ),
    Case::new(
        "SO_PEEK_OFF",
        "socket(7): each peek goes on behind the last, where TCP has it",
        peek_offset,
    ),
    Case::new(
        "MSG_WAITALL",
        "recv(2): waits for the full request, unless the socket is non-blocking",
        waitall,
    ),
    Case::new(
        "MSG_WAITALL and end",
        "recv(2): less at the stream's end",
        waitall_end,
    ),
    Case::new(
        "MSG_DONTWAIT",
        "recv(2): EAGAIN instead of waiting, for this call only",
        dontwait,
    ),
    Case::new(
        "MSG_TRUNC",
        "tcp(7): throws bytes away instead of copying them",
        trunc,
    )
    .may_be_left(),
    Case::new(
        "SO_RCVTIMEO",
        "socket(7): EAGAIN after the time, not before",
        receive_timeout,
    ),
    Case::new(
        "SO_RCVTIMEO and data",
        "socket(7): data within the time is returned",
        receive_timeout_data,
    ),
    Case::new(
        "SO_RCVLOWAT",
        "socket(7): poll and blocking reads wait for so many bytes",
        low_water,
    )
    .may_be_left(),
    Case::new(
        "FIONREAD",
        "tcp(7) SIOCINQ: how many bytes wait to be read",
        unread,
    )
    .may_be_left(),
    Case::new(
        "SIOCOUTQ",
        "tcp(7): nothing waits to be sent once all is acknowledged",
        unsent,
    ),
    Case::new(
        "readv",
        "readv(2): fills the buffers one after another",
        scattered,
    ),
    Case::new(
        "recvmsg",
        "recvmsg(2): several buffers, no control messages, no flags",
        message,
    ),
    Case::new(
        "recvmmsg",
        "recvmmsg(2): several reads in one call",
        many_messages,
    ),
    Case::new(
        "MSG_ERRQUEUE",
        "recv(2): EAGAIN while no error is queued",
        error_queue,
    ),
    Case::new(
        "SO_TIMESTAMPNS",
        "socket(7): recvmsg tells when the bytes came",
        timestamps,
    )
    .may_be_left(),
    Case::new(
        "TCP_INQ",
        "linux/tcp.h: recvmsg tells how many bytes are left",
        inquire,
    )
    .may_be_left(),
];

fn peek(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = payload::bytes(1, 1000);
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
    let sent = payload::bytes(2, 300);
    let mut buffer = [0; 300];
    for upto in [100, 200, 300] {
        envoy.put(&sent[upto - 100..upto])?;
        pause(20);
        let got = app.recv(&mut buffer, libc::MSG_PEEK)?;
        t.bytes(&format!("peek at {upto}"), &buffer[..got], &sent[..upto]);
    }
    t.bytes("read", &app.take(300)?, &sent);
    Ok(())
}

fn peek_offset(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    t.see(
        "set",
        sys::set(&app, libc::SOL_SOCKET, libc::SO_PEEK_OFF, 0),
    );
    let sent = payload::bytes(3, 90);
    envoy.put(&sent)?;
    pause(20);
    for _ in 0..2 {
        let mut buffer = [0; 30];
        let got = app.recv(&mut buffer, libc::MSG_PEEK)?;
        let at = sent.windows(got).position(|part| part == &buffer[..got]);
        t.see("peek: bytes, offset", (got, at));
    }
    t.bytes("read", &app.take(90)?, &sent);
    Ok(())
}

/// Sends a part now and another one in a while, reads them with one call.
fn two_parts(app: &End, envoy: &End, bytes: &[u8], flags: i32) -> Result<Got<Vec<u8>>> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    envoy.put(first)?;
    pause(20);
    thread::scope(|scope| -> Result<_> {
        let later = scope.spawn(|| {
            pause(150);
            envoy.put(second)
        });
        let mut buffer = vec![0; bytes.len()];
        let got = app.recv(&mut buffer, flags).map(|n| buffer[..n].to_vec());
        later.join().ok().context("the sender panicked")??;
        Ok(got)
    })
}

fn waitall(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = payload::bytes(4, 800);
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
    pause(20);
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
    pause(20);
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
    thread::scope(|scope| -> Result<()> {
        let later = scope.spawn(|| {
            pause(100);
            envoy.put(b"more")
        });
        t.is("a call without it waits", app.recv(&mut buffer, 0), Ok(4));
        later.join().ok().context("the sender panicked")??;
        Ok(())
    })
}

fn trunc(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = payload::bytes(5, 300);
    envoy.put(&sent)?;
    pause(20);
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
    thread::scope(|scope| -> Result<()> {
        let later = scope.spawn(|| {
            pause(150);
            envoy.put(b"in time")
        });
        let started = Instant::now();
        t.bytes("recv", &app.take(7)?, b"in time");
        t.took("time", started, 100..=2000);
        later.join().ok().context("the sender panicked")??;
        Ok(())
    })
}

fn low_water(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    sys::set(&app, libc::SOL_SOCKET, libc::SO_RCVLOWAT, 100)?;
    let sent = payload::bytes(6, 200);
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
        let read = thread::scope(|scope| -> Result<_> {
            let reader = scope.spawn(|| {
                let mut buffer = [0; 200];
                app.recv(&mut buffer, 0)
            });
            for part in sent[100..].chunks(50) {
                pause(100);
                envoy.put(part)?;
            }
            reader.join().ok().context("the reader panicked")
        })?;
        t.is("a waiting recv", read, Ok(100));
    }
    Ok(())
}

fn unread(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let count = |app: &End| sys::pending(app, libc::FIONREAD);
    t.is("at first", count(&app), Ok(0));
    for total in [1000, 2000, 3000] {
        envoy.put(&payload::bytes(7, 1000))?;
        pause(20);
        t.is(&format!("with {total} bytes"), count(&app), Ok(total));
    }
    app.take(1500)?;
    t.is("half read", count(&app), Ok(1500));
    app.take(1500)?;
    t.is("all read", count(&app), Ok(0));
    envoy.put(b"last")?;
    envoy.shutdown(std::net::Shutdown::Write)?;
    pause(20);
    t.is("before the end", count(&app), Ok(4));
    app.take(4)?;
    t.is("at the end", count(&app), Ok(0));
    Ok(())
}

fn unsent(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    t.is("at first", sys::pending(&app, libc::TIOCOUTQ), Ok(0));
    app.put(&payload::bytes(8, 5000))?;
    envoy.take(5000)?;
    pause(300);
    t.is("all read", sys::pending(&app, libc::TIOCOUTQ), Ok(0));
    Ok(())
}

fn scattered(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = payload::bytes(9, 600);
    envoy.put(&sent)?;
    pause(20);
    let mut buffers = [vec![0; 100], vec![0; 1], vec![0; 700]];
    let mut parts: Vec<_> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
    let got = app.patiently(PollFlags::POLLIN, || nix::sys::uio::readv(&app, &mut parts));
    t.is("readv", got, Ok(600));
    t.bytes("buffers", &buffers.concat()[..600], &sent);
    Ok(())
}

fn message(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = payload::bytes(10, 600);
    envoy.put(&sent)?;
    pause(20);
    let mut buffers = [vec![0; 300], vec![0; 10], vec![0; 700]];
    let mut parts: Vec<_> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
    let got = app.patiently(PollFlags::POLLIN, || sys::recv_parts(&app, &mut parts, 0))?;
    t.is(
        "recvmsg",
        (got.count, got.flags, got.controls),
        (600, 0, vec![]),
    );
    t.bytes("buffers", &buffers.concat()[..600], &sent);
    Ok(())
}

fn many_messages(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = payload::bytes(11, 250);
    envoy.put(&sent)?;
    pause(20);
    let mut buffers = vec![vec![0; 100]; 4];
    let got = sys::recv_many(&app, &mut buffers, libc::MSG_DONTWAIT);
    t.is("recvmmsg", got, Ok(vec![100, 100, 50]));
    t.bytes("buffers", &buffers.concat()[..250], &sent);
    let got = sys::recv_many(&app, &mut buffers, libc::MSG_DONTWAIT);
    t.is("again", got, Err(Errno::EAGAIN));
    Ok(())
}

fn error_queue(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    envoy.put(b"data")?;
    pause(20);
    t.is(
        "recv",
        sys::recv(&app, &mut [0; 10], libc::MSG_ERRQUEUE),
        Err(Errno::EAGAIN),
    );
    t.bytes("data", &app.take(4)?, b"data");
    Ok(())
}

/// Reads one message with room for control messages; their levels and types.
fn controls(app: &End, buffer: &mut [u8]) -> Got<(usize, Vec<sys::Control>)> {
    let got = app.patiently(PollFlags::POLLIN, || {
        sys::recv_parts(app, &mut [IoSliceMut::new(buffer)], 0)
    })?;
    Ok((got.count, got.controls))
}

fn timestamps(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    sys::set(&app, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    // The first user of time stamps has the kernel turn them on a little later.
    pause(100);
    for _ in 0..3 {
        envoy.put(b"now")?;
        let (count, list) = controls(&app, &mut [0; 10])?;
        let kinds: Vec<_> = list
            .iter()
            .map(|c| (c.level, c.kind, c.data.len()))
            .collect();
        t.is(
            "recvmsg",
            (count, kinds),
            (3, vec![(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, 16)]),
        );
    }
    Ok(())
}

/// `TCP_INQ` and `TCP_CM_INQ` of linux/tcp.h.
const TCP_INQ: i32 = 36;

fn inquire(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    sys::set(&app, libc::IPPROTO_TCP, TCP_INQ, 1)?;
    envoy.put(&payload::bytes(12, 1000))?;
    pause(20);
    for left in [600_i32, 200, 0] {
        let (count, list) = controls(&app, &mut [0; 400])?;
        let want = vec![sys::Control {
            level: libc::IPPROTO_TCP,
            kind: TCP_INQ,
            data: left.to_ne_bytes().to_vec(),
        }];
        t.is(
            "recvmsg",
            (count, list),
            (if left == 0 { 200 } else { 400 }, want),
        );
    }
    Ok(())
}

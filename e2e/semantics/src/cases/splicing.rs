//! Moving bytes between files, pipes and sockets inside the kernel.

use std::fs::File;
use std::io::{IoSlice, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use anyhow::{Context as _, Result};
use nix::Error as Errno;
use nix::fcntl::{SpliceFFlags, splice, tee, vmsplice};
use nix::poll::PollFlags;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile64;
use nix::unistd::pipe;
use sockway_testkit::pattern;

use super::closing::warmed;
use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, beside, meanwhile};
use crate::sys::{self, Got};

pub(super) const CASES: &[Case] = cases! {
    "sendfile": "sendfile(2): a file's bytes arrive" => send_file;
    "splice to the socket": "splice(2): what is in a pipe arrives" => splice_out, may_be_left();
    "splice from the socket": "splice(2): what arrived moves to a pipe" => splice_in, shown_first();
    "splice waits": "splice(2): waits for bytes, or EAGAIN" => splice_waits, may_be_left();
    "splice at the end": "splice(2): 0 at the end of the stream" => splice_end, may_be_left();
    "recv, then splice": "splice(2): goes on where recv(2) stopped" => recv_then_splice, shown_first();
    "vmsplice and tee": "tee(2): one pipe's bytes to two sockets" => tee_out, may_be_left();
    "splice through": "splice(2): from one connection to another, as a proxy does" => proxy, may_be_left();
};

/// A file of no name with these bytes.
fn file(bytes: &[u8]) -> Result<File> {
    let mut file = File::from(memfd_create(c"semantics", MFdFlags::empty())?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

fn send_file(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    send_a_file(t, &app, &envoy)
}

pub(super) fn send_a_file(t: &mut Scene, app: &End, envoy: &End) -> Result<()> {
    let sent = pattern::bytes(1, 300_000);
    let file = file(&sent)?;
    let (read, ()) = beside(
        || envoy.take(sent.len()),
        || {
            let mut left = sent.len();
            while left > 0 {
                let part = left.min(16 * 1024);
                left -= app.patiently(PollFlags::POLLOUT, || sendfile64(app, &file, None, part))?;
            }
            Ok(())
        },
    )?;
    t.bytes("Envoy reads", &read?, &sent);
    Ok(())
}

/// Moves up to `count` bytes, once.
fn moved(from: &impl AsFd, to: &impl AsFd, count: usize) -> Got<usize> {
    splice(
        from.as_fd(),
        None,
        to.as_fd(),
        None,
        count,
        SpliceFFlags::empty(),
    )
}

/// Moves `count` bytes from a pipe to a socket.
fn move_out(pipe: &OwnedFd, app: &End, count: usize) -> Got<()> {
    let mut left = count;
    while left > 0 {
        left -= app.patiently(PollFlags::POLLOUT, || moved(pipe, app, left))?;
    }
    Ok(())
}

/// Moves `count` bytes from a socket through a pipe, by `step` at most.
fn move_in(app: &End, count: usize, step: usize) -> Got<Vec<u8>> {
    let (out, into) = pipe()?;
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let n = app.patiently(PollFlags::POLLIN, || moved(app, &into, step))?;
        if n == 0 {
            break;
        }
        let mut part = vec![0; n];
        let got = sys::read(&out, &mut part)?;
        bytes.extend_from_slice(&part[..got]);
    }
    Ok(bytes)
}

fn splice_out(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(2, 200_000);
    let file = file(&sent)?;
    let (out, into) = pipe()?;
    let (read, ()) = beside(
        || envoy.take(sent.len()),
        || {
            let mut left = sent.len();
            while left > 0 {
                let n = moved(&file, &into, 32 * 1024)?;
                move_out(&out, &app, n)?;
                left -= n;
            }
            Ok(())
        },
    )?;
    t.bytes("Envoy reads", &read?, &sent);
    Ok(())
}

fn splice_in(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(3, 200_000);
    let (read, ()) = beside(
        || move_in(&app, sent.len(), 16 * 1024),
        || {
            for part in sent.chunks(2000) {
                envoy.put(part)?;
            }
            Ok(())
        },
    )?;
    t.bytes("the application reads", &read?, &sent);
    Ok(())
}

fn splice_waits(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let (_out, into) = pipe()?;
    if t.nonblocking() {
        t.is("nothing there", moved(&app, &into, 100), Err(Errno::EAGAIN));
        envoy.put(b"bytes")?;
        app.ready(PollFlags::POLLIN)?;
        t.is("something there", moved(&app, &into, 100), Ok(5));
    } else {
        let got = meanwhile(&envoy, b"bytes", || moved(&app, &into, 100))?;
        t.is("waits", got, Ok(5));
    }
    Ok(())
}

fn splice_end(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    envoy.put(b"last")?;
    envoy.shutdown(std::net::Shutdown::Write)?;
    let (_out, into) = pipe()?;
    app.ready(PollFlags::POLLIN)?;
    t.is("the last bytes", moved(&app, &into, 100), Ok(4));
    app.ready(PollFlags::POLLIN)?;
    t.is("the end", moved(&app, &into, 100), Ok(0));
    Ok(())
}

pub(super) fn recv_then_splice(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    let sent = pattern::bytes(4, 50_000);
    envoy.put(&sent[..100])?;
    t.bytes("recv", &app.take(50)?, &sent[..50]);
    envoy.put(&sent[100..])?;
    t.bytes(
        "splice",
        &move_in(&app, sent.len() - 50, 16 * 1024)?,
        &sent[50..],
    );
    envoy.put(b"and recv again")?;
    t.bytes("recv", &app.take(14)?, b"and recv again");
    Ok(())
}

fn tee_out(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let (second, second_envoy) = t.connect()?;
    let sent = pattern::bytes(5, 20_000);
    let (out, into) = pipe()?;
    let (copy_out, copy_into) = pipe()?;
    let taken = vmsplice(&into, &[IoSlice::new(&sent)], SpliceFFlags::empty())?;
    t.is("vmsplice", taken, sent.len());
    t.is(
        "tee",
        tee(&out, &copy_into, sent.len(), SpliceFFlags::empty()),
        Ok(sent.len()),
    );
    move_out(&out, &app, sent.len())?;
    move_out(&copy_out, &second, sent.len())?;
    t.bytes("the first Envoy reads", &envoy.take(sent.len())?, &sent);
    t.bytes(
        "the second Envoy reads",
        &second_envoy.take(sent.len())?,
        &sent,
    );
    Ok(())
}

fn proxy(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let (second, second_envoy) = t.connect()?;
    let sent = pattern::bytes(6, 200_000);
    let (out, into) = pipe()?;
    let read = thread::scope(|scope| -> Result<_> {
        let proxy = scope.spawn(|| -> Got<()> {
            loop {
                let n = app.patiently(PollFlags::POLLIN, || moved(&app, &into, 16 * 1024))?;
                if n == 0 {
                    return second.shutdown(std::net::Shutdown::Write);
                }
                move_out(&out, &second, n)?;
            }
        });
        let reader = scope.spawn(|| second_envoy.rest());
        envoy.put(&sent)?;
        envoy.shutdown(std::net::Shutdown::Write)?;
        proxy.join().ok().context("the proxy panicked")??;
        reader.join().ok().context("the reader panicked")
    })?;
    t.is("the second connection ends", read.1, Ok(()));
    t.bytes("its Envoy reads", &read.0, &sent);
    Ok(())
}

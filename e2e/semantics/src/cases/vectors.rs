//! Calls that read several buffers or messages, and what comes beside the bytes.

use std::io::IoSliceMut;

use anyhow::Result;
use nix::Error as Errno;
use nix::poll::PollFlags;
use sockway_testkit::pattern;

use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, pause};
use crate::sys::{self, Got};

pub(super) const CASES: &[Case] = cases! {
    "readv": "readv(2): fills the buffers one after another" => scattered;
    "recvmsg": "recvmsg(2): several buffers, no control messages, no flags" => message;
    "recvmmsg": "recvmmsg(2): several reads in one call" => many_messages;
    "MSG_ERRQUEUE": "recv(2): EAGAIN while no error is queued" => error_queue;
    "SO_TIMESTAMPNS": "socket(7): recvmsg tells when the bytes came" => timestamps, may_be_left();
};

fn scattered(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(9, 600);
    envoy.put(&sent)?;
    pause(50);
    let mut buffers = [vec![0; 100], vec![0; 1], vec![0; 700]];
    let mut parts: Vec<_> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
    let got = app.patiently(PollFlags::POLLIN, || nix::sys::uio::readv(&app, &mut parts));
    t.is("readv", got, Ok(600));
    t.bytes("buffers", &buffers.concat()[..600], &sent);
    Ok(())
}

fn message(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(10, 600);
    envoy.put(&sent)?;
    pause(50);
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
    let sent = pattern::bytes(11, 250);
    envoy.put(&sent)?;
    pause(50);
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
    pause(50);
    t.is(
        "recv",
        sys::recv(&app, &mut [0; 10], libc::MSG_ERRQUEUE),
        Err(Errno::EAGAIN),
    );
    t.bytes("data", &app.take(4)?, b"data");
    Ok(())
}

/// Reads one message with room for control messages; their levels and types.
pub(super) fn controls(app: &End, buffer: &mut [u8]) -> Got<(usize, Vec<sys::Control>)> {
    let got = app.patiently(PollFlags::POLLIN, || {
        sys::recv_parts(app, &mut [IoSliceMut::new(buffer)], 0)
    })?;
    Ok((got.count, got.controls))
}

pub(super) fn timestamps(t: &mut Scene) -> Result<()> {
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

//! Signals that meet a call, and signals that sockets raise.

use std::time::Duration;

use anyhow::Result;
use nix::Error as Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use sockway_testkit::pattern;

use super::closing::{warm, warmed};
use crate::case::Case;
use crate::scene::{Scene, beside, pause};
use crate::sys;
use crate::variant::Kind;

pub(super) const CASES: &[Case] = cases! {
    "EINTR": "signal(7): a handler without SA_RESTART ends a waiting call" => interrupted;
    "SA_RESTART": "signal(7): recv(2) goes on waiting after the handler" => restarted, only(Kind::BLOCKING);
    "SA_RESTART and SO_RCVTIMEO": "signal(7): with a time-out recv(2) is not restarted"
        => timed, only(Kind::BLOCKING);
    "EINTR in MSG_WAITALL": "recv(2): what came before the signal is returned"
        => part_interrupted, only(Kind::BLOCKING);
    "EINTR in send": "send(2): a part, or EINTR" => send_interrupted, only(Kind::BLOCKING);
    "SIGPIPE": "send(2): raised by a write to a reset connection, not with MSG_NOSIGNAL" => pipe_signal;
    "SIGIO": "fcntl(2) O_ASYNC: raised when bytes arrive" => io_signal;
};

/// Runs `call` in this thread and sends this thread a signal after a while.
fn signalled<T>(restart: bool, call: impl FnOnce() -> T) -> Result<T> {
    sys::handle(Signal::SIGUSR1, restart)?;
    let caller = sys::thread_id();
    let interrupt = move || {
        pause(150);
        sys::interrupt_thread(caller, Signal::SIGUSR1)
    };
    let (interrupted, result) = beside(interrupt, || Ok(call()))?;
    interrupted?;
    Ok(result)
}

fn interrupted(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    for _ in 0..3 {
        warm(t, &app, &envoy)?;
        let got = signalled(false, || app.recv(&mut [0; 10], 0))?;
        t.is("recv", got, Err(Errno::EINTR));
    }
    warm(t, &app, &envoy)
}

fn restarted(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    let after_the_signal = || {
        pause(350);
        envoy.put(b"data")
    };
    let receive = || signalled(true, || app.recv(&mut [0; 10], 0));
    let (sent, got) = beside(after_the_signal, receive)?;
    sent?;
    t.is("recv", got, Ok(4));
    Ok(())
}

fn timed(t: &mut Scene) -> Result<()> {
    let (app, _envoy) = warmed(t)?;
    app.socket()
        .set_read_timeout(Some(Duration::from_secs(3)))?;
    let got = signalled(true, || app.recv(&mut [0; 10], 0))?;
    t.is("recv", got, Err(Errno::EINTR));
    Ok(())
}

fn part_interrupted(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    envoy.put(b"1234")?;
    let mut buffer = [0; 8];
    let got = signalled(false, || app.recv(&mut buffer, libc::MSG_WAITALL))?;
    t.is("recv", got, Ok(4));
    envoy.put(b"5678")?;
    t.bytes("the rest", &app.take(4)?, b"5678");
    Ok(())
}

fn send_interrupted(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(1, 16 << 20);
    let mut taken = 0;
    // The first signal ends a send that was taken in part, the second one that was not at all.
    for _ in 0..2 {
        match signalled(false, || sys::send(&app, &sent[taken..], 0))? {
            Ok(n) => taken += n,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    t.is("not all was taken", taken > 0 && taken < sent.len(), true);
    t.is(
        "what was arrives",
        envoy.take(taken)? == sent[..taken],
        true,
    );
    Ok(())
}

/// A descriptor that tells that a signal is pending, which is blocked.
fn pending_signal(signal: Signal) -> Result<SignalFd> {
    sys::handle(signal, false)?;
    let mut set = SigSet::empty();
    set.add(signal);
    set.thread_block()?;
    let pending = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK)?;
    // What an earlier run of the case left.
    while pending.read_signal()?.is_some() {}
    Ok(pending)
}

fn pipe_signal(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let pending = pending_signal(Signal::SIGPIPE)?;
    warm(t, &app, &envoy)?;
    drop(envoy);
    pause(50);
    t.is("the first write", sys::write(&app, b"x"), Ok(1));
    pause(50);
    t.is("no signal yet", pending.read_signal()?.is_some(), false);
    t.is(
        "send with MSG_NOSIGNAL",
        sys::send(&app, b"x", 0),
        Err(Errno::EPIPE),
    );
    t.is("no signal", pending.read_signal()?.is_some(), false);
    t.is("write", sys::write(&app, b"x"), Err(Errno::EPIPE));
    t.is("the signal", pending.read_signal()?.is_some(), true);
    Ok(())
}

fn io_signal(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let pending = pending_signal(Signal::SIGIO)?;
    warm(t, &app, &envoy)?;
    sys::own(&app)?;
    let flags = OFlag::from_bits_retain(fcntl(&app, FcntlArg::F_GETFL)?);
    fcntl(&app, FcntlArg::F_SETFL(flags | OFlag::O_ASYNC))?;
    for _ in 0..3 {
        while pending.read_signal()?.is_some() {}
        envoy.put(b"bytes")?;
        let raised = sys::wait_for(&pending, PollFlags::POLLIN, Duration::from_secs(2))?;
        t.is("raised", raised, PollFlags::POLLIN);
        t.bytes("read", &app.take(5)?, b"bytes");
    }
    Ok(())
}

//! Ways in which connections come about.

use anyhow::Result;
use nix::Error as Errno;
use nix::poll::PollFlags;
use sockway_testkit::pattern;

use super::closing::warm;
use super::readiness::socket_error;
use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, Setup, pause};
use crate::sys::{self, errno};
use crate::variant::Kind;

pub(super) const CASES: &[Case] = cases! {
    "connect": "connect(2): waits, or EINPROGRESS and then writable" => connects, only(Kind::CLIENTS);
    "refused": "connect(2): ECONNREFUSED where nobody listens" => refused, only(Kind::CLIENTS), may_be_left();
    "not connected": "recv(2), send(2): ENOTCONN, EPIPE" => unconnected, may_be_left();
    "accepted later": "listen(2): what was sent before accept(2) is there" => accepted_later;
    "ended before accept": "accept(2): a connection that ended is handed out with its bytes"
        => ended_before, may_be_left();
    "aborted before accept": "accept(2): one that was reset is handed out, then ECONNRESET"
        => aborted_before, may_be_left();
    "many at once": "listen(2): 64 connections keep apart" => many;
};

fn connects(t: &mut Scene) -> Result<()> {
    let listener = t.listen(&Setup::default())?;
    let socket = t.unconnected(&Setup::default())?;
    let connected = socket.connect(&t.target().into()).map_err(|e| errno(&e));
    let waits = if t.nonblocking() {
        Err(Errno::EINPROGRESS)
    } else {
        Ok(())
    };
    t.is("connect", connected, waits);
    let app = End::new(socket, t.active_style());
    t.is(
        "writable",
        app.ready(PollFlags::POLLOUT),
        Ok(PollFlags::POLLOUT),
    );
    t.is("SO_ERROR", socket_error(app.socket())?, None);
    let envoy = t.accept(&listener)?;
    warm(t, &app, &envoy)
}

fn refused(t: &mut Scene) -> Result<()> {
    // The warm-up's.
    t.close_listener();
    let socket = t.unconnected(&Setup::default())?;
    let connected = socket.connect(&t.target().into()).map_err(|e| errno(&e));
    if t.nonblocking() {
        t.is("connect", connected, Err(Errno::EINPROGRESS));
        let app = End::new(socket, t.active_style());
        app.ready(PollFlags::POLLOUT)?;
        t.is(
            "SO_ERROR",
            socket_error(app.socket())?,
            Some(Errno::ECONNREFUSED),
        );
    } else {
        t.is("connect", connected, Err(Errno::ECONNREFUSED));
    }
    Ok(())
}

fn unconnected(t: &mut Scene) -> Result<()> {
    let socket = t.unconnected(&Setup::default())?;
    t.is(
        "recv",
        sys::recv(&socket, &mut [0; 1], 0),
        Err(Errno::ENOTCONN),
    );
    t.is("send", sys::send(&socket, b"x", 0), Err(Errno::EPIPE));
    Ok(())
}

fn accepted_later(t: &mut Scene) -> Result<()> {
    let listener = t.listen(&Setup::default())?;
    let active = t.dial(&Setup::default())?;
    let sent = pattern::bytes(1, 30_000);
    active.put(&sent)?;
    pause(300);
    let passive = t.accept(&listener)?;
    t.bytes("read", &passive.take(sent.len())?, &sent);
    let (app, envoy) = t.ends(active, passive);
    warm(t, &app, &envoy)
}

fn ended_before(t: &mut Scene) -> Result<()> {
    let listener = t.listen(&Setup::default())?;
    let active = t.dial(&Setup::default())?;
    let sent = pattern::bytes(2, 3000);
    active.put(&sent)?;
    drop(active);
    pause(50);
    let passive = t.accept(&listener)?;
    let (got, end) = passive.rest();
    t.bytes("read", &got, &sent);
    t.is("then", end, Ok(()));
    Ok(())
}

fn aborted_before(t: &mut Scene) -> Result<()> {
    let listener = t.listen(&Setup::default())?;
    let active = t.dial(&Setup::default())?;
    active.put(b"bytes")?;
    active
        .socket()
        .set_linger(Some(std::time::Duration::ZERO))?;
    drop(active);
    pause(50);
    let passive = t.accept(&listener)?;
    t.is(
        "read",
        passive.rest(),
        (b"bytes".to_vec(), Err(Errno::ECONNRESET)),
    );
    Ok(())
}

fn many(t: &mut Scene) -> Result<()> {
    let listener = t.listen(&Setup::default())?;
    let mut pairs = Vec::new();
    for _ in 0..64 {
        let active = t.dial(&Setup::default())?;
        let passive = t.accept(&listener)?;
        pairs.push(t.ends(active, passive));
    }
    let sent = |i: usize| pattern::bytes(i as u64, 500);
    for round in 0..3 {
        for (i, (app, envoy)) in pairs.iter().enumerate() {
            app.put(&sent(i + round))?;
            envoy.put(&sent(i + round))?;
        }
        for (i, (app, envoy)) in pairs.iter().enumerate() {
            t.bytes("the application reads", &app.take(500)?, &sent(i + round));
            t.bytes("Envoy reads", &envoy.take(500)?, &sent(i + round));
        }
    }
    Ok(())
}

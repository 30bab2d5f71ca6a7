//! Ways in which connections come about.

use std::time::Instant;

use anyhow::Result;
use nix::Error as Errno;
use nix::poll::PollFlags;
use socket2::Protocol;

use super::closing::warm;
use super::readiness::socket_error;
use crate::case::Case;
use crate::end::End;
use crate::payload;
use crate::place::sysctl;
use crate::scene::{Scene, Setup, Unavailable, pause};
use crate::sys::{self, errno};
use crate::variant::Kind;

pub(super) const CASES: &[Case] = &[
    Case::new(
        "connect",
        "connect(2): waits, or EINPROGRESS and then writable",
        connects,
    )
    .only(Kind::CLIENTS)
    .both(),
    Case::new(
        "refused",
        "connect(2): ECONNREFUSED where nobody listens",
        refused,
    )
    .only(Kind::CLIENTS)
    .may_be_left(),
    Case::new(
        "not connected",
        "recv(2), send(2): ENOTCONN, EPIPE",
        unconnected,
    )
    .may_be_left(),
    Case::new(
        "accepted later",
        "listen(2): what was sent before accept(2) is there",
        accepted_later,
    ),
    Case::new(
        "ended before accept",
        "accept(2): a connection that ended is handed out with its bytes",
        ended_before,
    )
    .may_be_left(),
    Case::new(
        "aborted before accept",
        "accept(2): one that was reset is handed out, then ECONNRESET",
        aborted_before,
    )
    .may_be_left(),
    Case::new(
        "SYN cookies",
        "tcp(7) tcp_syncookies: connections are as others",
        cookies,
    )
    .both()
    .may_be_left(),
    Case::new(
        "TCP fast open",
        "tcp(7) TCP_FASTOPEN: bytes that came with the SYN come first",
        fast_open,
    )
    .may_be_left(),
    Case::new(
        "MPTCP",
        "mptcp(7): the application's socket talks to a TCP peer",
        multipath,
    )
    .may_be_left(),
    Case::new("many at once", "listen(2): 64 connections keep apart", many),
];

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
    let sent = payload::bytes(1, 30_000);
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
    let sent = payload::bytes(2, 3000);
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

fn cookies(t: &mut Scene) -> Result<()> {
    sysctl("ipv4/tcp_syncookies", "2")?;
    for _ in 0..5 {
        let (app, envoy) = t.connect()?;
        warm(t, &app, &envoy)?;
        let sent = payload::bytes(3, 100_000);
        let got = std::thread::scope(|scope| {
            let writer = scope.spawn(|| app.put(&sent));
            let got = envoy.take(sent.len());
            writer.join().ok().map(|_| got)
        });
        t.is("a large answer", got == Some(Ok(sent)), true);
    }
    Ok(())
}

/// Sends `bytes` with the SYN where the kernel has a cookie of the peer, else after it.
fn dial_fast(t: &Scene, bytes: &[u8]) -> Result<End> {
    let end = End::new(t.unconnected(&Setup::default())?, t.active_style());
    match sys::send_connecting(&end, &t.target().into(), bytes) {
        Ok(n) => end.put(&bytes[n..])?,
        Err(Errno::EINPROGRESS) => {
            end.ready(PollFlags::POLLOUT)?;
            end.put(bytes)?;
        }
        Err(e) => return Err(e.into()),
    }
    Ok(end)
}

fn fast_open(t: &mut Scene) -> Result<()> {
    sysctl("ipv4/tcp_fastopen", "3")?;
    let enable =
        |socket: &socket2::Socket| sys::set(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 16);
    let setup = Setup {
        app: &enable,
        envoy: &enable,
        ..Setup::default()
    };
    let listener = t.listen(&setup)?;
    for round in 0..8 {
        let sent = payload::bytes(round, 1000);
        let active = dial_fast(t, &sent[..400])?;
        active.put(&sent[400..700])?;
        active.put(&sent[700..])?;
        let passive = t.accept(&listener)?;
        t.bytes("the accepting end reads", &passive.take(1000)?, &sent);
        passive.put(&sent)?;
        t.bytes("the connecting end reads", &active.take(1000)?, &sent);
        let (app, envoy) = t.ends(active, passive);
        warm(t, &app, &envoy)?;
    }
    Ok(())
}

fn multipath(t: &mut Scene) -> Result<()> {
    let setup = Setup {
        protocol: Protocol::MPTCP,
        ..Setup::default()
    };
    let listener = match t.listen(&setup) {
        Err(e) if is_unsupported(&e) => return Err(Unavailable("it has no MPTCP").into()),
        listener => listener?,
    };
    let active = match t.dial(&setup) {
        Err(e) if is_unsupported(&e) => return Err(Unavailable("it has no MPTCP").into()),
        active => active?,
    };
    let passive = t.accept(&listener)?;
    let (app, envoy) = t.ends(active, passive);
    for _ in 0..5 {
        warm(t, &app, &envoy)?;
    }
    let started = Instant::now();
    envoy.shutdown(std::net::Shutdown::Write)?;
    t.is("the end", app.rest(), (vec![], Ok(())));
    t.took("at once", started, 0..=1000);
    Ok(())
}

fn is_unsupported(error: &anyhow::Error) -> bool {
    let errno = error
        .chain()
        .find_map(|e| e.downcast_ref::<std::io::Error>())
        .map(errno);
    matches!(
        errno,
        Some(Errno::EPROTONOSUPPORT | Errno::ENOPROTOOPT | Errno::EINVAL)
    )
}

fn many(t: &mut Scene) -> Result<()> {
    let listener = t.listen(&Setup::default())?;
    let mut pairs = Vec::new();
    for _ in 0..64 {
        let active = t.dial(&Setup::default())?;
        let passive = t.accept(&listener)?;
        pairs.push(t.ends(active, passive));
    }
    let sent = |i: usize| payload::bytes(i as u64, 500);
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

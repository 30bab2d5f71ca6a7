//! Handshakes that are not the usual one.

use std::time::Instant;

use anyhow::Result;
use nix::Error as Errno;
use nix::poll::PollFlags;
use socket2::Protocol;
use sockway_testkit::pattern;

use super::closing::warm;
use crate::case::Case;
use crate::end::End;
use crate::place::sysctl;
use crate::scene::{Scene, Setup, Unavailable, beside};
use crate::sys::{self, errno};

pub(super) const CASES: &[Case] = cases! {
    "SYN cookies": "tcp(7) tcp_syncookies: connections are as others" => cookies, may_be_left();
    "TCP fast open": "tcp(7) TCP_FASTOPEN: bytes that came with the SYN come first" => fast_open, may_be_left();
    "MPTCP": "mptcp(7): the application's socket talks to a TCP peer" => multipath, may_be_left();
};

fn cookies(t: &mut Scene) -> Result<()> {
    sysctl("ipv4/tcp_syncookies", "2")?;
    for _ in 0..5 {
        let (app, envoy) = t.connect()?;
        warm(t, &app, &envoy)?;
        let sent = pattern::bytes(3, 100_000);
        let (_, got) = beside(|| app.put(&sent), || Ok(envoy.take(sent.len())))?;
        t.is("a large answer", got == Ok(sent), true);
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
        ..Setup::prepared()
    };
    let listener = t.listen(&setup)?;
    for round in 0..8 {
        let sent = pattern::bytes(round, 1000);
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
        ..Setup::prepared()
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

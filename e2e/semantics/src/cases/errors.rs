//! Errors from outside: each is told once.

use std::net::{SocketAddr, SocketAddrV4};

use anyhow::{Context as _, Result};
use nix::Error as Errno;
use nix::poll::PollFlags;
use sockway_testkit::pattern;

use super::closing::{warm, warmed};
use super::readiness::socket_error;
use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, Unavailable, pause};
use crate::sys;

pub(super) const CASES: &[Case] = cases! {
    "SOCK_DESTROY": "linux/sock_diag.h: ECONNABORTED, once" => |t| destroyed(t, false, false);
    "SOCK_DESTROY with bytes waiting": "linux/sock_diag.h: ECONNABORTED, once, with what came before"
        => |t| destroyed(t, true, false);
    "SOCK_DESTROY of the peer": "linux/sock_diag.h: the peer sees a reset, once" => |t| destroyed(t, false, true);
    "SOCK_DESTROY of the peer with bytes waiting": "linux/sock_diag.h: the peer sees a reset behind what came before, once"
        => |t| destroyed(t, true, true);
    "reset once": "recv(2): ECONNRESET behind what came before, then the end" => |t| reset(t, true);
    "reset once, nothing waiting": "recv(2): ECONNRESET, then the end" => |t| reset(t, false);
    "ICMP unreachable": "RFC 1122 4.2.3.9: a soft error does not end an established connection"
        => |t| soft(t, false, false, SOON), only_v4(), may_be_left();
    "ICMP unreachable with IP_RECVERR": "ip(7): told at once, once; the connection goes on"
        => |t| soft(t, true, false, SOON), only_v4(), may_be_left();
    "ICMP unreachable with IP_RECVERR, looked at late": "ip(7): told until it is taken; the connection goes on"
        => |t| soft(t, true, false, LATE), only_v4(), may_be_left();
    "ICMP unreachable with IP_RECVERR and bytes waiting": "ip(7): told once; nothing is lost"
        => |t| soft(t, true, true, SOON), only_v4(), may_be_left();
};

fn addresses(end: &End) -> Result<[SocketAddr; 2]> {
    let local = end.socket().local_addr()?.as_socket();
    let remote = end.socket().peer_addr()?.as_socket();
    Ok([local.context("no address")?, remote.context("no address")?])
}

/// What a reader and a writer are told, again and again.
fn told(t: &mut Scene, app: &End) -> Result<()> {
    t.see("poll", app.now(PollFlags::POLLIN)?);
    for _ in 0..3 {
        t.see("recv", app.recv(&mut [0; 4096], 0));
    }
    for _ in 0..3 {
        t.see("send", sys::send(app, b"x", 0));
    }
    t.see("SO_ERROR", socket_error(app.socket())?);
    t.see("poll in the end", app.now(PollFlags::POLLIN)?);
    Ok(())
}

fn destroyed(t: &mut Scene, waiting: bool, peer: bool) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    if waiting {
        envoy.put(&pattern::bytes(9, 1000))?;
        pause(150);
    }
    let [local, remote] = addresses(if peer { &envoy } else { &app })?;
    match sys::destroy(local, remote) {
        Err(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOENT) => {
            return Err(Unavailable("it has no SOCK_DESTROY (CONFIG_INET_DIAG_DESTROY)").into());
        }
        done => t.is("SOCK_DESTROY", done, Ok(())),
    }
    pause(50);
    told(t, &app)?;
    told(t, &envoy)
}

fn reset(t: &mut Scene, waiting: bool) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    if waiting {
        envoy.put(&pattern::bytes(9, 1000))?;
        pause(150);
    }
    envoy.socket().set_linger(Some(std::time::Duration::ZERO))?;
    drop(envoy);
    pause(50);
    told(t, &app)
}

/// After how many milliseconds the application looks: when the end has left the sockhash, and when the keeper
/// has looked at every end once more.
const SOON: u64 = 50;
const LATE: u64 = 2500;

fn soft(t: &mut Scene, report: bool, waiting: bool, after: u64) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    if report {
        sys::set(&app, libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
    }
    let sent = pattern::bytes(9, 1000);
    if waiting {
        envoy.put(&sent)?;
        pause(150);
    }
    let v4 = |address| match address {
        SocketAddr::V4(v4) => Some(v4),
        SocketAddr::V6(_) => None,
    };
    // Acknowledgements that are delayed clear it, on plain TCP, if they come after it.
    pause(150);
    let [local, remote]: [Option<SocketAddrV4>; 2] = addresses(&app)?.map(v4);
    let (local, remote) = (local.context("no IPv4")?, remote.context("no IPv4")?);
    t.is(
        "ICMP",
        sys::unreachable(app.socket(), local, remote),
        Ok(()),
    );
    pause(after);
    t.see("poll", app.now(PollFlags::POLLIN)?);
    if waiting {
        t.bytes("what waits", &app.take(1000)?, &sent);
    }
    t.see("recv", sys::recv(&app, &mut [0; 10], libc::MSG_DONTWAIT));
    t.see(
        "recv again",
        sys::recv(&app, &mut [0; 10], libc::MSG_DONTWAIT),
    );
    t.see("poll then", app.now(PollFlags::POLLIN)?);
    t.see("SO_ERROR", socket_error(app.socket())?);
    // The errors' queue has one for IP_RECVERR: until it is read, poll shows it.
    warm(t, &app, &envoy)?;
    t.see("poll in the end", app.now(PollFlags::POLLIN)?);
    Ok(())
}

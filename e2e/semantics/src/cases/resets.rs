//! How connections end badly: abortive close, unread data, a closed listener.

use std::time::Duration;

use anyhow::Result;
use nix::Error as Errno;
use sockway_testkit::pattern;

use super::closing::{waiting_read, warmed};
use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, Setup, pause};
use crate::sys::{self, Got};

pub(super) const CASES: &[Case] = cases! {
    "reset wakes the reader": "recv(2): a waiting read returns ECONNRESET when the peer aborts" => reset_wakes;
    "send after the peer closed": "RFC 9293: reset, then EPIPE" => send_after_close;
    "unread data at close": "RFC 1122 4.2.2.13: closing with unread data resets" => unread_at_close;
    "unread data at Envoy's close": "RFC 1122 4.2.2.13: the application sees ECONNRESET" => unread_at_peer_close;
    "SO_LINGER 0": "socket(7): close resets, the peer sees ECONNRESET" => abort;
    "SO_LINGER 0 of the peer": "send(2), recv(2): ECONNRESET, then EPIPE" => peer_aborts;
    "reset behind data": "RFC 9293: data that arrived is read before the reset" => reset_behind_data;
    "listener closed": "listen(2): connections not accepted are reset" => listener_closed, may_be_left();
};

fn reset_wakes(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    envoy.socket().set_linger(Some(Duration::ZERO))?;
    t.is(
        "recv",
        waiting_read(&app, || drop(envoy))?,
        Err(Errno::ECONNRESET),
    );
    t.is("recv again", app.recv(&mut [0; 1], 0), Ok(0));
    Ok(())
}

/// Sends until an error comes, which must be soon.
fn send_until_error(app: &End) -> Got<usize> {
    for _ in 0..50 {
        sys::send(app, b"x", 0)?;
        pause(10);
    }
    Ok(50)
}

fn send_after_close(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    drop(envoy);
    pause(50);
    t.is("the first send", sys::send(&app, b"x", 0), Ok(1));
    t.is("in the end", send_until_error(&app), Err(Errno::EPIPE));
    t.is("recv", app.recv(&mut [0; 1], 0), Ok(0));
    Ok(())
}

/// A connection that the other end reset, with nothing to read before that.
fn is_reset(t: &mut Scene, who: &str, end: &End) {
    let nothing = (vec![], Err(Errno::ECONNRESET));
    t.is(&format!("{who} reads"), end.rest(), nothing);
    let sent = sys::send(end, b"x", 0);
    t.is(&format!("{who} sends"), sent, Err(Errno::EPIPE));
}

fn unread_at_close(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    envoy.put(b"never read")?;
    pause(150);
    drop(app);
    is_reset(t, "Envoy", &envoy);
    Ok(())
}

fn unread_at_peer_close(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    app.put(b"never read")?;
    // Longer than a delayed acknowledgement, which may hold the bytes back (RFC 896).
    pause(150);
    drop(envoy);
    is_reset(t, "the application", &app);
    Ok(())
}

fn abort(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    app.socket().set_linger(Some(Duration::ZERO))?;
    drop(app);
    is_reset(t, "Envoy", &envoy);
    Ok(())
}

fn peer_aborts(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    envoy.socket().set_linger(Some(Duration::ZERO))?;
    drop(envoy);
    pause(50);
    t.is("send", sys::send(&app, b"x", 0), Err(Errno::ECONNRESET));
    t.is("send again", sys::send(&app, b"x", 0), Err(Errno::EPIPE));
    t.is("recv", app.recv(&mut [0; 1], 0), Ok(0));
    Ok(())
}

fn reset_behind_data(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    let sent = pattern::bytes(4, 1000);
    envoy.put(&sent)?;
    pause(50);
    envoy.socket().set_linger(Some(Duration::ZERO))?;
    drop(envoy);
    pause(50);
    let (got, end) = app.rest();
    t.bytes("read", &got, &sent);
    t.is("then", end, Err(Errno::ECONNRESET));
    Ok(())
}

fn listener_closed(t: &mut Scene) -> Result<()> {
    let listener = t.listen_alone()?;
    let active = t.dial(&Setup::default())?;
    let also = t.dial(&Setup::default())?;
    active.put(b"before")?;
    pause(50);
    drop(listener);
    pause(50);
    t.is(
        "with bytes sent",
        active.rest(),
        (vec![], Err(Errno::ECONNRESET)),
    );
    t.is("with none", also.rest(), (vec![], Err(Errno::ECONNRESET)));
    Ok(())
}

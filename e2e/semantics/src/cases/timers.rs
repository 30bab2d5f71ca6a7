//! Timers of an established connection.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use nix::Error as Errno;
use nix::poll::PollFlags;
use sockway_testkit::pattern;

use super::closing::warm;
use crate::case::Case;
use crate::scene::Scene;
use crate::sys;

pub(super) const CASES: &[Case] = cases! {
    "SO_KEEPALIVE": "tcp(7): probes over an idle connection find it alive" => keepalive, slow();
    "TCP_USER_TIMEOUT": "tcp(7): a live connection outlasts it" => user_timeout, slow();
    "TCP_USER_TIMEOUT and no reader": "tcp(7): data that is not taken in time ends it" => user_timeout_full, slow();
};

const TCP: i32 = libc::IPPROTO_TCP;

fn keepalive(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    sys::set(&app, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    for (option, value) in [
        (libc::TCP_KEEPIDLE, 1),
        (libc::TCP_KEEPINTVL, 1),
        (libc::TCP_KEEPCNT, 2),
    ] {
        sys::set(&app, TCP, option, value)?;
    }
    warm(t, &app, &envoy)?;
    thread::sleep(Duration::from_secs(5));
    t.is("poll", app.now(PollFlags::POLLIN)?, PollFlags::empty());
    warm(t, &app, &envoy)
}

fn user_timeout(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    sys::set(&app, TCP, libc::TCP_USER_TIMEOUT, 1000)?;
    t.is(
        "read back",
        sys::get(&app, TCP, libc::TCP_USER_TIMEOUT),
        Ok(1000),
    );
    warm(t, &app, &envoy)?;
    thread::sleep(Duration::from_millis(2500));
    warm(t, &app, &envoy)
}

fn user_timeout_full(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    sys::set(&app, TCP, libc::TCP_USER_TIMEOUT, 1000)?;
    warm(t, &app, &envoy)?;
    app.fill(
        &pattern::bytes(1, 16 * 1024),
        256 << 20,
        Duration::from_millis(300),
    )?;
    let reset = sys::wait_for(&app, PollFlags::empty(), Duration::from_secs(8))?;
    t.is("poll", reset.contains(PollFlags::POLLERR), true);
    t.is("recv", app.recv(&mut [0; 1], 0), Err(Errno::ETIMEDOUT));
    drop(envoy);
    Ok(())
}

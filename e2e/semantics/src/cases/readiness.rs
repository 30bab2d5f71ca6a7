//! `poll` and `select` say when a call would not wait.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::Error as Errno;
use nix::poll::PollFlags;
use nix::sys::select::{FdSet, select};
use nix::sys::time::TimeVal;
use socket2::Socket;
use sockway_testkit::pattern;

use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, meanwhile, pause};
use crate::sys::{self, Got};

pub(super) const CASES: &[Case] = cases! {
    "poll": "poll(2): readable while bytes wait, writable while there is room" => poll_level;
    "poll wakes": "poll(2): returns when bytes come, or after the time" => poll_wakes;
    "select": "select(2): as poll" => select_level;
    "POLLHUP": "poll(2): both directions are shut down" => poll_hup;
    "POLLERR": "poll(2): the connection was reset; SO_ERROR says how, once" => poll_error;
};

const BOTH: PollFlags = PollFlags::POLLIN.union(PollFlags::POLLOUT);

fn poll_level(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    t.is("at first", app.now(BOTH)?, PollFlags::POLLOUT);
    envoy.put(&pattern::bytes(1, 100))?;
    t.is(
        "with bytes",
        app.ready(PollFlags::POLLIN)?,
        PollFlags::POLLIN,
    );
    app.take(60)?;
    t.is("with some left", app.now(BOTH)?, BOTH);
    app.take(40)?;
    t.is("with none left", app.now(BOTH)?, PollFlags::POLLOUT);
    envoy.shutdown(std::net::Shutdown::Write)?;
    t.is(
        "at the end",
        app.ready(PollFlags::POLLIN)?,
        PollFlags::POLLIN,
    );
    Ok(())
}

fn poll_wakes(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let started = Instant::now();
    let idle = sys::wait_for(&app, PollFlags::POLLIN, Duration::from_millis(200));
    t.is("nothing comes", idle, Ok(PollFlags::empty()));
    t.took("time", started, 190..=1500);
    for _ in 0..3 {
        let started = Instant::now();
        let woken = meanwhile(&envoy, b"wake", || app.ready(PollFlags::POLLIN))?;
        t.is("bytes come", woken, Ok(PollFlags::POLLIN));
        t.took("time", started, 100..=2000);
        t.bytes("read", &app.take(4)?, b"wake");
    }
    Ok(())
}

/// `(readable, writable)` as select says.
fn selected(app: &End, ms: i64) -> Got<(bool, bool)> {
    let (mut reads, mut writes) = (FdSet::new(), FdSet::new());
    reads.insert(app.as_fd());
    writes.insert(app.as_fd());
    let mut time = TimeVal::new(ms / 1000, ms % 1000 * 1000);
    select(None, &mut reads, &mut writes, None, &mut time)?;
    Ok((reads.contains(app.as_fd()), writes.contains(app.as_fd())))
}

fn select_level(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    t.is("at first", selected(&app, 0), Ok((false, true)));
    envoy.put(b"bytes")?;
    app.ready(PollFlags::POLLIN)?;
    t.is("with bytes", selected(&app, 1000), Ok((true, true)));
    app.take(5)?;
    t.is("with none left", selected(&app, 0), Ok((false, true)));
    Ok(())
}

fn poll_hup(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    envoy.put(b"bytes")?;
    t.bytes("read", &app.take(5)?, b"bytes");
    app.shutdown(std::net::Shutdown::Write)?;
    t.is("own half shut", app.now(BOTH)?, PollFlags::POLLOUT);
    envoy.shutdown(std::net::Shutdown::Write)?;
    pause(50);
    t.is(
        "both halves shut",
        app.now(BOTH)?,
        BOTH | PollFlags::POLLHUP,
    );
    t.is("recv", app.recv(&mut [0; 1], 0), Ok(0));
    Ok(())
}

/// The pending error, which asking takes away.
pub(super) fn socket_error(app: &Socket) -> Result<Option<Errno>> {
    Ok(app.take_error()?.map(|error| sys::errno(&error)))
}

fn poll_error(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    envoy.put(b"bytes")?;
    t.bytes("read", &app.take(5)?, b"bytes");
    t.is("no error", socket_error(app.socket())?, None);
    envoy.socket().set_linger(Some(Duration::ZERO))?;
    drop(envoy);
    pause(50);
    let reset = BOTH | PollFlags::POLLERR | PollFlags::POLLHUP;
    t.is("after a reset", app.now(BOTH)?, reset);
    t.is(
        "SO_ERROR",
        socket_error(app.socket())?,
        Some(Errno::ECONNRESET),
    );
    t.is("SO_ERROR again", socket_error(app.socket())?, None);
    t.is("recv", app.recv(&mut [0; 1], 0), Ok(0));
    Ok(())
}

//! `poll`, `epoll` and `select` say when a call would not wait.

use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::Error as Errno;
use nix::poll::PollFlags;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::select::{FdSet, select};
use nix::sys::time::TimeVal;
use socket2::Socket;

use crate::case::Case;
use crate::end::End;
use crate::payload;
use crate::scene::{Scene, pause};
use crate::sys::{self, Got};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "poll",
        "poll(2): readable while bytes wait, writable while there is room",
        poll_level,
    )
    .both(),
    Case::new(
        "poll wakes",
        "poll(2): returns when bytes come, or after the time",
        poll_wakes,
    ),
    Case::new("select", "select(2): as poll", select_level),
    Case::new(
        "epoll level",
        "epoll(7): an event as long as bytes wait",
        epoll_level,
    ),
    Case::new(
        "epoll edge",
        "epoll(7) EPOLLET: one event for each arrival",
        epoll_edge,
    )
    .both(),
    Case::new(
        "epoll edge drained",
        "epoll(7) EPOLLET: reading to EAGAIN never loses the next event",
        epoll_drain,
    ),
    Case::new(
        "EPOLLONESHOT",
        "epoll_ctl(2): one event, then none until armed again",
        epoll_oneshot,
    ),
    Case::new(
        "EPOLLEXCLUSIVE",
        "epoll_ctl(2): at least one of two waiting sets wakes",
        epoll_exclusive,
    ),
    Case::new(
        "EPOLLRDHUP",
        "epoll_ctl(2): the other end has shut down its writing half",
        epoll_rdhup,
    ),
    Case::new(
        "POLLHUP",
        "poll(2): both directions are shut down",
        poll_hup,
    ),
    Case::new(
        "POLLERR",
        "poll(2): the connection was reset; SO_ERROR says how, once",
        poll_error,
    ),
    Case::new(
        "epoll writable",
        "epoll(7) EPOLLET: an event when a full socket has room again",
        epoll_out,
    ),
];

const BOTH: PollFlags = PollFlags::POLLIN.union(PollFlags::POLLOUT);

fn poll_level(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    t.is("at first", app.now(BOTH)?, PollFlags::POLLOUT);
    envoy.put(&payload::bytes(1, 100))?;
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

/// Runs `wait` while Envoy sends after a while.
fn meanwhile<T>(envoy: &End, bytes: &[u8], wait: impl FnOnce() -> T) -> Result<T> {
    thread::scope(|scope| {
        let later = scope.spawn(|| {
            pause(150);
            envoy.put(bytes)
        });
        let result = wait();
        later.join().ok().context("the sender panicked")??;
        Ok(result)
    })
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

/// One set with one socket.
struct Set(Epoll);

impl Set {
    fn new(app: &End, flags: EpollFlags) -> Got<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(app, EpollEvent::new(flags, 7))?;
        Ok(Self(epoll))
    }

    /// The events of the next wait; empty after `ms`.
    fn wait(&self, ms: u16) -> Got<EpollFlags> {
        let mut events = [EpollEvent::empty()];
        let count = self.0.wait(&mut events, ms)?;
        Ok(if count == 0 {
            EpollFlags::empty()
        } else {
            events[0].events()
        })
    }
}

fn epoll_level(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let set = Set::new(&app, EpollFlags::EPOLLIN)?;
    t.is("at first", set.wait(0), Ok(EpollFlags::empty()));
    envoy.put(&payload::bytes(2, 100))?;
    t.is("with bytes", set.wait(2000), Ok(EpollFlags::EPOLLIN));
    t.is("again", set.wait(0), Ok(EpollFlags::EPOLLIN));
    app.take(50)?;
    t.is("with some left", set.wait(0), Ok(EpollFlags::EPOLLIN));
    app.take(50)?;
    t.is("with none left", set.wait(50), Ok(EpollFlags::empty()));
    let woken = meanwhile(&envoy, b"x", || set.wait(3000))?;
    t.is("wakes", woken, Ok(EpollFlags::EPOLLIN));
    Ok(())
}

fn epoll_edge(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let set = Set::new(&app, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
    for round in 0..5 {
        envoy.put(&payload::bytes(round, 100))?;
        t.is("an arrival", set.wait(2000), Ok(EpollFlags::EPOLLIN));
        t.is("no other", set.wait(20), Ok(EpollFlags::empty()));
    }
    app.take(100)?;
    t.is(
        "nothing for reading some",
        set.wait(20),
        Ok(EpollFlags::empty()),
    );
    app.take(400)?;
    envoy.put(b"more")?;
    t.is(
        "an arrival after all was read",
        set.wait(2000),
        Ok(EpollFlags::EPOLLIN),
    );
    Ok(())
}

fn epoll_drain(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let set = Set::new(&app, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
    let bytes_sent = payload::bytes(9, 300_000);
    let read = thread::scope(|scope| -> Result<_> {
        let application = scope.spawn(|| -> Got<Vec<u8>> {
            let (mut bytes, mut buffer) = (Vec::new(), vec![0; 3000]);
            while bytes.len() < 300_000 {
                if set.wait(4000)?.is_empty() {
                    break;
                }
                loop {
                    match sys::recv(&app, &mut buffer, libc::MSG_DONTWAIT) {
                        Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                        Err(Errno::EAGAIN) => break,
                        Err(e) => return Err(e),
                    }
                }
            }
            Ok(bytes)
        });
        for part in bytes_sent.chunks(100) {
            envoy.put(part)?;
        }
        Ok(application
            .join()
            .ok()
            .context("the application panicked")??)
    })?;
    t.bytes("read", &read, &bytes_sent);
    Ok(())
}

fn epoll_oneshot(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
    let set = Set::new(&app, flags)?;
    envoy.put(b"one")?;
    t.is("the event", set.wait(2000), Ok(EpollFlags::EPOLLIN));
    envoy.put(b"two")?;
    t.is("no other", set.wait(50), Ok(EpollFlags::empty()));
    set.0.modify(&app, &mut EpollEvent::new(flags, 7))?;
    t.is("armed again", set.wait(2000), Ok(EpollFlags::EPOLLIN));
    t.bytes("read", &app.take(6)?, b"onetwo");
    Ok(())
}

fn epoll_exclusive(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
    let sets = [Set::new(&app, flags)?, Set::new(&app, flags)?];
    let woken = thread::scope(|scope| -> Result<_> {
        let waits = [
            scope.spawn(|| sets[0].wait(1500)),
            scope.spawn(|| sets[1].wait(1500)),
        ];
        pause(100);
        envoy.put(b"wake")?;
        let mut woken = false;
        for wait in waits {
            woken |= !wait.join().ok().context("a waiter panicked")??.is_empty();
        }
        Ok(woken)
    })?;
    t.is("at least one woke", woken, true);
    t.bytes("read", &app.take(4)?, b"wake");
    Ok(())
}

fn epoll_rdhup(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let set = Set::new(&app, EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP)?;
    t.is("at first", set.wait(0), Ok(EpollFlags::empty()));
    envoy.put(b"last")?;
    t.is("with bytes", set.wait(2000), Ok(EpollFlags::EPOLLIN));
    envoy.shutdown(std::net::Shutdown::Write)?;
    pause(50);
    let hung_up = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
    t.is("with bytes and the end", set.wait(2000), Ok(hung_up));
    t.bytes("read", &app.take(4)?, b"last");
    t.is("with the end", set.wait(0), Ok(hung_up));
    t.is("recv", app.recv(&mut [0; 1], 0), Ok(0));
    app.put(b"still")?;
    t.bytes("the other half works", &envoy.take(5)?, b"still");
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

fn epoll_out(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let set = Set::new(&app, EpollFlags::EPOLLOUT | EpollFlags::EPOLLET)?;
    t.is("at first", set.wait(0), Ok(EpollFlags::EPOLLOUT));
    let taken = app.fill(
        &payload::bytes(3, 4096),
        256 << 20,
        Duration::from_millis(200),
    )?;
    set.wait(0)?;
    t.is("full", set.wait(50), Ok(EpollFlags::empty()));
    let drained = thread::scope(|scope| -> Result<_> {
        let reader = scope.spawn(|| {
            pause(100);
            envoy.take(taken)
        });
        t.is("room again", set.wait(5000), Ok(EpollFlags::EPOLLOUT));
        Ok(reader.join().ok().context("the reader panicked")??.len())
    })?;
    t.is("all was read", drained == taken, true);
    Ok(())
}

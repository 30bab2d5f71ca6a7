//! `epoll` says when a call would not wait.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::Error as Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use sockway_testkit::pattern;

use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, beside, meanwhile, pause};
use crate::sys::{self, Got};

pub(super) const CASES: &[Case] = cases! {
    "epoll level": "epoll(7): an event as long as bytes wait" => epoll_level;
    // It does not read until EAGAIN.
    "epoll edge": "epoll(7) EPOLLET: one event for each arrival" => epoll_edge, may_be_left();
    "epoll edge, short reads": "epoll(7) EPOLLET: a read of less than was asked for is the end of what is there"
        => epoll_short, may_be_left();
    "epoll edge drained": "epoll(7) EPOLLET: reading to EAGAIN never loses the next event" => epoll_drain;
    "EPOLLONESHOT": "epoll_ctl(2): one event, then none until armed again" => epoll_oneshot;
    "EPOLLEXCLUSIVE": "epoll_ctl(2): at least one of two waiting sets wakes" => epoll_exclusive;
    "EPOLLRDHUP": "epoll_ctl(2): the other end has shut down its writing half" => epoll_rdhup;
    "epoll writable": "epoll(7) EPOLLET: an event when a full socket has room again" => epoll_out;
};

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
    envoy.put(&pattern::bytes(2, 100))?;
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
        envoy.put(&pattern::bytes(round, 100))?;
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

/// What a thread of the application read.
fn got(application: thread::ScopedJoinHandle<'_, Got<Vec<u8>>>) -> Result<Vec<u8>> {
    Ok(application
        .join()
        .ok()
        .context("the application panicked")??)
}

/// As nginx, Netty and tokio read: a short read is the last one before the next event.
fn epoll_short(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let set = Set::new(&app, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
    let bytes_sent = pattern::bytes(11, 1_000_000);
    let read = thread::scope(|scope| -> Result<_> {
        let application = scope.spawn(|| -> Got<Vec<u8>> {
            let (mut bytes, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
            while bytes.len() < 1_000_000 && !set.wait(4000)?.is_empty() {
                loop {
                    let n = match sys::recv(&app, &mut buffer, libc::MSG_DONTWAIT) {
                        Err(Errno::EAGAIN) => 0,
                        other => other?,
                    };
                    bytes.extend_from_slice(&buffer[..n]);
                    if n < buffer.len() {
                        break;
                    }
                }
            }
            Ok(bytes)
        });
        envoy.put(&bytes_sent)?;
        got(application)
    })?;
    t.bytes("read", &read, &bytes_sent);
    Ok(())
}

fn epoll_drain(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let set = Set::new(&app, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
    // So often that it is known for what it is.
    for round in 0..12 {
        envoy.put(&pattern::bytes(round, 100))?;
        t.is("an arrival", set.wait(2000), Ok(EpollFlags::EPOLLIN));
        app.take(100)?;
        t.is(
            "nothing left",
            sys::recv(&app, &mut [0; 1], libc::MSG_DONTWAIT),
            Err(Errno::EAGAIN),
        );
    }
    let bytes_sent = pattern::bytes(9, 300_000);
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
        got(application)
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

fn epoll_out(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let set = Set::new(&app, EpollFlags::EPOLLOUT | EpollFlags::EPOLLET)?;
    t.is("at first", set.wait(0), Ok(EpollFlags::EPOLLOUT));
    let taken = app.fill(
        &pattern::bytes(3, 4096),
        256 << 20,
        Duration::from_millis(200),
    )?;
    set.wait(0)?;
    t.is("full", set.wait(50), Ok(EpollFlags::empty()));
    let reads = || {
        pause(100);
        envoy.take(taken)
    };
    let (drained, room) = beside(reads, || Ok(set.wait(5000)))?;
    t.is("room again", room, Ok(EpollFlags::EPOLLOUT));
    t.is("all was read", drained?.len() == taken, true);
    Ok(())
}

//! Options and calls that come late, on a connection in use.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::Error as Errno;
use nix::poll::PollFlags;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use sockway_testkit::pattern;

use super::closing::{warm, warmed};
use super::queues::peek_on;
use super::vectors::controls;
use super::{sending, splicing};
use crate::case::Case;
use crate::end::End;
use crate::pace;
use crate::scene::{Scene, Setup, pause};
use crate::sys::{self, Got};
use crate::variant::{Kind, Style};

pub(super) const CASES: &[Case] = cases! {
    "SO_RCVLOWAT late": "socket(7): poll waits for so many bytes from then on" => low_water, may_be_left();
    "SO_PEEK_OFF late": "socket(7): each peek goes on behind the last, where TCP has it"
        => peek_offset, may_be_left();
    "SO_TIMESTAMPNS late": "socket(7): recvmsg tells when the bytes came" => timestamps, may_be_left();
    "SO_ZEROCOPY late": "kernel networking/msg_zerocopy: every send is completed on the error queue"
        => zero_copy, may_be_left();
    "SO_ZEROCOPY late at the peer": "kernel networking/msg_zerocopy: every send is completed on the error queue"
        => zero_copy_peer, may_be_left();
    "FIONREAD late": "tcp(7) SIOCINQ: how many bytes wait to be read" => unread, may_be_left();
    "sendfile late": "sendfile(2): a file's bytes arrive behind what was sent before" => send_file;
    "busy reader": "recv(2): a thread that never waits gets every byte in order" => busy, only(Kind::NONBLOCKING);
    "epoll edge, short reads, slowly": "epoll(7) EPOLLET: a reader that stops short gets a large upload whole"
        => short_and_slow, only(Kind::NONBLOCKING), may_be_left();
    "exec with the listener": "execve(2): another program goes on to accept, and may block"
        => inherited, only(Kind::SERVERS), may_be_left();
};

fn low_water(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    t.is(
        "set",
        sys::set(&app, libc::SOL_SOCKET, libc::SO_RCVLOWAT, 100),
        Ok(()),
    );
    pause(200);
    let sent = pattern::bytes(1, 100);
    envoy.put(&sent[..50])?;
    pause(50);
    t.is(
        "poll with half",
        app.now(PollFlags::POLLIN)?,
        PollFlags::empty(),
    );
    envoy.put(&sent[50..])?;
    t.is(
        "poll with all",
        app.ready(PollFlags::POLLIN),
        Ok(PollFlags::POLLIN),
    );
    t.bytes("read", &app.take(100)?, &sent);
    Ok(())
}

fn peek_offset(t: &mut Scene) -> Result<()> {
    let ends = warmed(t)?;
    peek_on(t, &ends, 200)
}

fn timestamps(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    sys::set(&app, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    pause(200);
    for _ in 0..3 {
        envoy.put(b"bytes")?;
        pause(20);
        let (count, list) = controls(&app, &mut [0; 10])?;
        t.is(
            "recvmsg: bytes, control messages",
            (count, list.len()),
            (5, 1),
        );
    }
    Ok(())
}

fn zero_copy(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    sys::set(&app, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1)?;
    pause(200);
    sending::complete(t, &app, &envoy)
}

fn zero_copy_peer(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    sys::set(&envoy, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1)?;
    pause(200);
    sending::complete(t, &envoy, &app)
}

fn unread(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    for total in [1000, 2000] {
        envoy.put(&pattern::bytes(7, 1000))?;
        pause(50);
        let count = sys::pending(&app, libc::FIONREAD);
        t.is(&format!("with {total} bytes"), count, Ok(total));
    }
    let sent = [pattern::bytes(7, 1000), pattern::bytes(7, 1000)].concat();
    t.bytes("read", &app.take(2000)?, &sent);
    t.is("with none", sys::pending(&app, libc::FIONREAD), Ok(0));
    Ok(())
}

fn send_file(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    splicing::send_a_file(t, &app, &envoy)?;
    warm(t, &app, &envoy)
}

fn busy(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(4, 400_000);
    let read = thread::scope(|scope| -> Result<_> {
        let reader = scope.spawn(|| -> Got<Vec<u8>> {
            let (mut bytes, mut buffer) = (Vec::new(), vec![0; 3000]);
            let began = Instant::now();
            while bytes.len() < sent.len() && began.elapsed() < pace::allow(Duration::from_secs(8))
            {
                match sys::recv(&app, &mut buffer, 0) {
                    Ok(0) => break,
                    Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                    Err(Errno::EAGAIN) => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(bytes)
        });
        for part in sent.chunks(1000) {
            envoy.put(part)?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(reader.join().ok().context("the reader panicked")??)
    })?;
    t.bytes("read", &read, &sent);
    Ok(())
}

/// 8 MiB to a reader that is told of arrivals and takes a short read for the last, and a rest.
fn short_and_slow(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(5, 8 << 20);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(
        app.as_fd(),
        EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 1),
    )?;
    let read = thread::scope(|scope| -> Result<_> {
        let writer = scope.spawn(|| envoy.put(&sent));
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
        let mut reads = 0_u32;
        while bytes.len() < sent.len() {
            let mut events = [EpollEvent::empty()];
            let wait = u16::try_from(pace::allow(Duration::from_secs(4)).as_millis())?;
            if epoll.wait(&mut events, wait)? == 0 {
                break;
            }
            loop {
                reads += 1;
                if reads.is_multiple_of(64) {
                    thread::sleep(Duration::from_millis(2));
                }
                let n = match sys::recv(&app, &mut buffer, 0) {
                    Err(Errno::EAGAIN) => 0,
                    other => other?,
                };
                bytes.extend_from_slice(&buffer[..n]);
                if n < buffer.len() {
                    break;
                }
            }
        }
        if bytes.len() < sent.len() {
            // The writer waits for a reader that stands still.
            envoy.shutdown(std::net::Shutdown::Both)?;
        }
        let wrote = writer.join().ok().context("the writer panicked")?;
        Ok((bytes, wrote))
    })?;
    t.bytes("read", &read.0, &sent);
    t.is("the writer", read.1, Ok(()));
    Ok(())
}

/// What the other program is given, each half at a time.
const REQUEST: usize = 800;

fn inherited(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    for _ in 0..3 {
        warm(t, &app, &envoy)?;
    }
    drop((app, envoy));
    let listener = t.listen(&Setup::default())?;
    let child = sys::exec_copy(&["--serve", &listener.as_raw_fd().to_string()], &listener)?;
    for round in 0..3 {
        let envoy = t.dial(&Setup::default())?;
        let sent = pattern::bytes(round, REQUEST);
        envoy.put(&sent[..300])?;
        pause(50);
        envoy.put(&sent[300..])?;
        t.bytes("Envoy reads", &envoy.take(REQUEST)?, &sent);
        t.is("then the end", envoy.rest(), (vec![], Ok(())));
    }
    t.is("the other program", child.wait(), Ok(0));
    Ok(())
}

/// The other program: takes three connections, and waits for a whole request in one call.
pub(crate) fn serve(listener: &socket2::Socket) -> Result<()> {
    listener.set_nonblocking(false)?;
    for _ in 0..3 {
        let (socket, _) = listener.accept()?;
        socket.set_nonblocking(false)?;
        let end = End::new(socket, Style::Blocking);
        let mut buffer = [0; REQUEST];
        let got = end.recv(&mut buffer, libc::MSG_WAITALL)?;
        end.put(&buffer[..got])?;
    }
    Ok(())
}

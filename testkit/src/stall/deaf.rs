//! A reader that waits for bytes, is told of them, and goes on waiting: seen from outside, one whose
//! wake-up was lost.

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::options::Deaf;
use super::server::echo;
use crate::pattern::{Direction, Pattern};
use crate::{net, stop};

/// After so long it looks whether it is to end, milliseconds.
const LOOK: u16 = 60_000;

/// Serves until SIGTERM; then a line for each connection, with the bytes that waited there.
pub(crate) fn run(options: &Deaf, ready: impl FnOnce()) -> Result<()> {
    let listener = net::listen(options.listen)?.into();
    let set = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll_create")?;
    // As Envoy asks: edge-triggered, for as long as it wants to read.
    let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    ready();
    echo(&listener, |stream| {
        let set = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll_create")?;
        set.add(stream, EpollEvent::new(interest, 0))
            .context("epoll_ctl")?;
        Ok(move || wait(&set).map(|_| ()))
    })?;
    let asks = EpollEvent::new(EpollFlags::EPOLLIN, 0);
    set.add(&listener, asks).context("epoll_ctl")?;
    let mut connections: Vec<TcpStream> = Vec::new();
    while !stop::requested() {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).context("set O_NONBLOCK")?;
            let number = u64::try_from(stream.as_raw_fd()).unwrap_or(0);
            set.add(&stream, EpollEvent::new(interest, number))
                .context("epoll_ctl")?;
            connections.push(stream);
        }
        wait(&set)?;
    }
    for mut stream in connections {
        println!("waited {}", what_waits(&mut stream)?);
    }
    Ok(())
}

/// Waits for an event, whichever it is.
fn wait(set: &Epoll) -> Result<usize> {
    let mut events = [EpollEvent::empty(); 8];
    match set.wait(&mut events, EpollTimeout::from(LOOK)) {
        Err(nix::errno::Errno::EINTR) => Ok(0),
        told => told.context("epoll_wait"),
    }
}

/// How many bytes wait, or what is wrong with them.
fn what_waits(stream: &mut TcpStream) -> Result<u64> {
    let mut wanted = Pattern::new(0, Direction::Up);
    let (mut scratch, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let mut read = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(read),
            Ok(count) => {
                if let Err(mismatch) = wanted.check(&buffer[..count], &mut scratch) {
                    anyhow::bail!("{mismatch}");
                }
                read += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(read),
            Err(error) => return Err(error).context("recv"),
        }
    }
}

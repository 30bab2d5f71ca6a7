//! Sockets that do not block, as a proxy or an event loop uses them.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Waits until the socket is ready; an error where that takes too long.
pub fn wait(socket: &impl AsFd, what: PollFlags) -> Result<()> {
    if wait_for(socket, what, PATIENCE)? {
        return Ok(());
    }
    bail!("hang: nothing for {PATIENCE:?}, waiting for {what:?}")
}

/// Waits until the socket is ready, or the time is over; whether it is ready.
pub fn wait_for(socket: &impl AsFd, what: PollFlags, time: Duration) -> Result<bool> {
    let mut fds = [PollFd::new(socket.as_fd(), what)];
    let limit = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut fds, limit) {
            Err(Errno::EINTR) => {}
            ready => return Ok(ready.context("poll")? > 0),
        }
    }
}

/// A listener; one at an IPv6 address takes IPv4 as v4-mapped.
pub fn listen(at: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).context("socket")?;
    socket.set_reuse_address(true).context("SO_REUSEADDR")?;
    if at.is_ipv6() {
        socket.set_only_v6(false).context("IPV6_V6ONLY")?;
    }
    socket
        .bind(&at.into())
        .with_context(|| format!("bind to {at}"))?;
    socket.listen(BACKLOG).context("listen")?;
    socket.set_nonblocking(true).context("O_NONBLOCK")?;
    Ok(socket)
}

/// Waits until one of the sockets has something to tell, or the time is over, or a signal comes.
#[cfg(feature = "mesh")]
pub(crate) fn told(poll: &mut mio::Poll, events: &mut mio::Events, time: Duration) -> Result<()> {
    match poll.poll(events, Some(time)) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => {
            Err(error).context("epoll_wait")
        }
        _ => Ok(()),
    }
}

/// Sets a socket option whose value is an int.
pub fn set_option(socket: &Socket, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    let at = (&raw const value).cast();
    // SAFETY: the option's value is a live int, passed with its size.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, at, size) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The next connection of a listener.
pub fn accept(listener: &Socket) -> Result<Socket> {
    loop {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(true).context("O_NONBLOCK")?;
                return Ok(socket);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(listener, PollFlags::POLLIN)?;
            }
            Err(error) => return Err(error).context("accept"),
        }
    }
}

/// A socket that is to connect.
pub fn socket(from: Option<SocketAddr>, to: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).context("socket")?;
    socket.set_nonblocking(true).context("O_NONBLOCK")?;
    if let Some(from) = from {
        socket
            .bind(&from.into())
            .with_context(|| format!("bind to {from}"))?;
    }
    Ok(socket)
}

/// `connect()`, of which nothing is known yet when it returns.
pub fn start(socket: &Socket, to: SocketAddr) -> io::Result<()> {
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(()),
    }
}

/// `connect()`, until the connection is established.
pub fn establish(socket: &Socket, to: SocketAddr) -> Result<()> {
    let connect = || format!("connect to {to}");
    start(socket, to).with_context(connect)?;
    wait(socket, PollFlags::POLLOUT).with_context(connect)?;
    match socket.take_error().context("SO_ERROR")? {
        Some(error) => Err(error).with_context(connect),
        None => Ok(()),
    }
}

/// A connection that is established.
pub fn connect(from: Option<SocketAddr>, to: SocketAddr) -> Result<Socket> {
    let socket = socket(from, to)?;
    establish(&socket, to)?;
    Ok(socket)
}

/// Sends all of it.
pub fn send(mut socket: &Socket, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(socket, PollFlags::POLLOUT)?;
            }
            Err(error) => return Err(error).context("send"),
        }
    }
    Ok(())
}

/// Receives what there is, at least a byte; 0 at the end of the stream.
pub fn some(mut socket: &Socket, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match socket.read(buffer) {
            Ok(got) => return Ok(got),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(socket, PollFlags::POLLIN)?;
            }
            Err(error) => return Err(error).context("receive"),
        }
    }
}

/// Receives until the buffer is full or the stream ends; how many bytes came.
pub fn receive_up_to(socket: &Socket, buffer: &mut [u8]) -> Result<usize> {
    let mut at = 0;
    while at < buffer.len() {
        match some(socket, &mut buffer[at..])? {
            0 => break,
            got => at += got,
        }
    }
    Ok(at)
}

/// Receives until the buffer is full; an end before that is an error.
pub fn receive(socket: &Socket, buffer: &mut [u8]) -> Result<()> {
    let got = receive_up_to(socket, buffer)?;
    if got < buffer.len() {
        bail!("the stream ended after {got} of {} bytes", buffer.len());
    }
    Ok(())
}

/// Reads on where nothing more is to come.
pub fn finds_nothing(mut socket: &Socket) -> Result<()> {
    match socket.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error).context("receive"),
        Ok(_) => bail!("more than what was sent"),
    }
}

/// Sends everything back until the stream ends.
pub fn echo(socket: &Socket, size: usize) -> Result<()> {
    let mut buffer = vec![0; size];
    loop {
        match some(socket, &mut buffer)? {
            0 => return Ok(()),
            got => send(socket, &buffer[..got])?,
        }
    }
}

/// Counts bytes to the end of the stream.
pub fn count(socket: &Socket, size: usize) -> Result<u64> {
    let (mut buffer, mut bytes) = (vec![0; size], 0);
    loop {
        match some(socket, &mut buffer)? {
            0 => return Ok(bytes),
            got => bytes += got as u64,
        }
    }
}

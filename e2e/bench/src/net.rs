//! Sockets that do not block, as a proxy or an event loop uses them.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(10);
const BACKLOG: i32 = 4096;

/// Waits until the socket is ready.
pub(crate) fn wait(socket: &impl AsFd, what: PollFlags) -> Result<()> {
    let mut fds = [PollFd::new(socket.as_fd(), what)];
    let limit = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut fds, limit) {
            Ok(0) => bail!("hang: nothing for {PATIENCE:?}"),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
    }
}

/// A listener.
pub(crate) fn listen(at: SocketAddr) -> Result<Socket> {
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

/// The next connection of a listener.
pub(crate) fn accept(listener: &Socket) -> Result<Socket> {
    loop {
        match listener.accept() {
            Ok((socket, _)) => return ready(socket),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(listener, PollFlags::POLLIN)?;
            }
            Err(error) => return Err(error).context("accept"),
        }
    }
}

fn ready(socket: Socket) -> Result<Socket> {
    socket.set_nonblocking(true).context("O_NONBLOCK")?;
    socket.set_tcp_nodelay(true).context("TCP_NODELAY")?;
    Ok(socket)
}

/// A socket that is to connect.
pub(crate) fn socket(from: Option<SocketAddr>, to: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).context("socket")?;
    let socket = ready(socket)?;
    if let Some(from) = from {
        socket.bind(&from.into()).context("bind")?;
    }
    Ok(socket)
}

/// `connect()`, until the connection is established.
pub(crate) fn establish(socket: &Socket, to: SocketAddr) -> Result<()> {
    match socket.connect(&to.into()) {
        Ok(()) => return Ok(()),
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
        Err(error) => return Err(error).with_context(|| format!("connect to {to}")),
    }
    wait(socket, PollFlags::POLLOUT)?;
    match socket.take_error().context("SO_ERROR")? {
        Some(error) => Err(error).with_context(|| format!("connect to {to}")),
        None => Ok(()),
    }
}

/// A connection that is established.
pub(crate) fn connect(from: Option<SocketAddr>, to: SocketAddr) -> Result<Socket> {
    let socket = socket(from, to)?;
    establish(&socket, to)?;
    Ok(socket)
}

/// Sends all of it.
pub(crate) fn send(mut socket: &Socket, mut bytes: &[u8]) -> Result<()> {
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

/// Receives until the buffer is full; an end before that is an error.
pub(crate) fn receive(socket: &Socket, buffer: &mut [u8]) -> Result<()> {
    let mut at = 0;
    while at < buffer.len() {
        match some(socket, &mut buffer[at..])? {
            0 => bail!("the stream ended after {at} of {} bytes", buffer.len()),
            got => at += got,
        }
    }
    Ok(())
}

/// Reads on where nothing more is to come.
pub(crate) fn finds_nothing(mut socket: &Socket) -> Result<()> {
    match socket.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error).context("receive"),
        Ok(_) => bail!("more than what was sent"),
    }
}

/// Receives what there is, at least a byte; 0 at the end of the stream.
pub(crate) fn some(mut socket: &Socket, buffer: &mut [u8]) -> Result<usize> {
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

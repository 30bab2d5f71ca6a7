//! Making sockets the way applications do.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::options::{Client, Listen};
use crate::net::{self, set_option};

/// What `TCP_DEFER_ACCEPT` is set to.
const DEFER: i32 = 3;

/// Local ports tried for one connection before giving up.
const PORT_ATTEMPTS: u64 = 2000;
/// After so many of them a pause, for connections to end meanwhile.
const PAUSE_EVERY: u64 = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// A listening socket.
fn listen(listen: &Listen) -> Result<TcpListener> {
    let Listen {
        address,
        greet: _,
        defer,
    } = listen;
    let socket = net::listen(*address)?;
    if *defer {
        set_option(&socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, DEFER)
            .context("setsockopt TCP_DEFER_ACCEPT")?;
    }
    Ok(socket.into())
}

/// All of them, each told of under its number.
pub(crate) fn listen_all(all: &[Listen], poll: &Poll) -> Result<Vec<(TcpListener, Listen)>> {
    let open = |(number, at): (usize, &Listen)| {
        // Accepting must not block after a reset of what waited to be accepted; accepted sockets do
        // not inherit this.
        let listener = listen(at)?;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&listener);
        poll.registry()
            .register(&mut SourceFd(&fd), Token(number), Interest::READABLE)
            .context("epoll_ctl")?;
        Ok((listener, at.clone()))
    };
    all.iter().enumerate().map(open).collect()
}

/// The next connection of a listener, if one waits.
pub(crate) fn accept(listener: &TcpListener) -> Result<Option<TcpStream>> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Ok(Some(stream)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            // Reset before it was accepted: nothing was promised on it yet.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error).context("accept"),
        }
    }
}

/// The connection of number `index`: where to, and from which port.
fn target(client: &Client, index: u64, attempt: u64) -> (SocketAddr, u16) {
    let addresses = client.to.len() as u64;
    let pick = |value: u64, count: u64| usize::try_from(value % count).unwrap_or(0);
    let to = client.to[pick(index, addresses)];
    let port = client.source_ports.map_or(0, |ports| {
        let step = index / addresses + attempt * 7;
        let offset = u16::try_from(step % u64::from(ports.count)).unwrap_or(0);
        ports.first.wrapping_add(offset)
    });
    (to, port)
}

/// An unconnected socket towards `to`, bound to `port` unless that is 0, with the address to connect to.
fn prepare(client: &Client, to: SocketAddr, port: u16) -> io::Result<(Socket, SocketAddr)> {
    let to = match to {
        SocketAddr::V4(v4) if client.mapped => {
            SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port())
        }
        other => other,
    };
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if port != 0 {
        socket.set_reuse_address(true)?;
        let any = if to.is_ipv6() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        socket.bind(&SocketAddr::new(any, port).into())?;
    }
    Ok((socket, to))
}

/// A non-blocking socket whose connection is being set up.
pub(crate) fn start(client: &Client, to: SocketAddr, port: u16) -> io::Result<TcpStream> {
    let (socket, to) = prepare(client, to, port)?;
    socket.set_nonblocking(true)?;
    net::start(&socket, to)?;
    Ok(socket.into())
}

/// A blocking, connected socket.
pub(crate) fn connect(client: &Client, to: SocketAddr, port: u16) -> io::Result<TcpStream> {
    let (socket, to) = prepare(client, to, port)?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Connects connection number `index` by `dial`, trying other local ports where one is taken.
///
/// Returns the ports found taken beside the stream.
pub(crate) fn with_port(
    client: &Client,
    index: u64,
    dial: fn(&Client, SocketAddr, u16) -> io::Result<TcpStream>,
) -> io::Result<(TcpStream, u64)> {
    for attempt in 0..PORT_ATTEMPTS {
        let (to, port) = target(client, index, attempt);
        match dial(client, to, port) {
            Err(error) if port_taken(&error) => {
                if attempt % PAUSE_EVERY == PAUSE_EVERY - 1 {
                    thread::sleep(PAUSE);
                }
            }
            result => return result.map(|stream| (stream, attempt)),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "every local port is taken",
    ))
}

/// True where another local port may do.
fn port_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
    )
}

/// Shuts a socket down, so that threads blocked on it come back.
pub(crate) fn unblock(stream: &TcpStream, how: Shutdown) {
    // Fails where the connection is over already, which is as good.
    drop(stream.shutdown(how));
}

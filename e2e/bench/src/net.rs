//! Sockets that do not block and send at once, as a proxy or an event loop uses them.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use socket2::Socket;
use sockway_testkit::net;
pub(crate) use sockway_testkit::net::{
    count, echo, establish, finds_nothing, listen, receive, send,
};

/// The next connection of a listener.
pub(crate) fn accept(listener: &Socket) -> Result<Socket> {
    at_once(net::accept(listener)?)
}

/// A socket that is to connect.
pub(crate) fn socket(from: Option<SocketAddr>, to: SocketAddr) -> Result<Socket> {
    at_once(net::socket(from, to)?)
}

/// A connection that is established.
pub(crate) fn connect(from: Option<SocketAddr>, to: SocketAddr) -> Result<Socket> {
    let socket = socket(from, to)?;
    establish(&socket, to)?;
    Ok(socket)
}

fn at_once(socket: Socket) -> Result<Socket> {
    socket.set_tcp_nodelay(true).context("TCP_NODELAY")?;
    Ok(socket)
}

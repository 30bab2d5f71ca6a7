//! What `sockway-e2e stall` takes on its command line.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

/// `stall`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Accept, and read at a given rate or not at all
    Server(Server),
    /// Send until nothing more is taken, or a given number of bytes
    Client(Client),
}

/// `stall server`: works until SIGTERM.
#[derive(Args, Debug)]
pub(crate) struct Server {
    /// Address and port
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Bytes read from each connection in a second; 0: none ever
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u32,
}

/// `stall client`.
#[derive(Args, Debug)]
pub(crate) struct Client {
    /// Where to
    #[arg(long)]
    pub(crate) to: SocketAddr,
    /// Connections at a time
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: u32,
    /// Bytes of each send; 0: send nothing, only be connected
    #[arg(long, default_value_t = 16 * 1024)]
    pub(crate) size: u32,
    /// Bytes to send on each connection, which then end; without it: as many as
    /// are taken, and the connections stay until SIGTERM
    #[arg(long)]
    pub(crate) total: Option<u64>,
}

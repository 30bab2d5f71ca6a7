//! What `sockway-e2e stall` takes on its command line.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

/// `stall`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Accept, and read at a given rate or not at all
    Server(Server),
    /// Accept, wait for bytes, and never read them
    Deaf(Deaf),
    /// Send until nothing more is taken, or a given number of bytes
    Client(Client),
}

/// `stall server`: works until SIGTERM.
#[derive(Args, Debug)]
pub struct Server {
    /// Address and port
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Echo on the first connection, which shows how this program reads
    #[arg(long)]
    pub(crate) prove: bool,
    /// Bytes read from each connection in a second; 0: none ever
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u32,
}

/// `stall deaf`: works until SIGTERM. Echoes on the first connection, which shows how it reads.
#[derive(Args, Debug)]
pub struct Deaf {
    /// Address and port
    #[arg(long)]
    pub(crate) listen: SocketAddr,
}

/// `stall client`.
#[derive(Args, Debug)]
pub struct Client {
    /// Where to
    #[arg(long)]
    pub(crate) to: SocketAddr,
    /// Be echoed to on a connection of its own first, which shows how this program reads
    #[arg(long)]
    pub(crate) prove: bool,
    /// Between two messages of that, milliseconds: how an edge-triggered program reads is seen only once
    /// somebody was told to look. And before anything is sent: what comes before the accept goes by TCP
    #[arg(long, default_value_t = 0)]
    pub(crate) pace: u64,
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
    /// Stay connected once all was sent, until SIGTERM
    #[arg(long)]
    pub(crate) stay: bool,
}

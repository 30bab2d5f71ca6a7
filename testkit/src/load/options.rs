//! What `sockway-e2e load` takes on its command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Closed-loop echo load.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Echo until SIGTERM
    Server(Server),
    /// Ask, wait for the answer, compare, ask again; then report
    Client(Client),
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// The bytes themselves.
    Tcp,
    /// HTTP/1.1 with keep-alive, POST with a body.
    Http,
}

/// `load server`.
#[derive(Args, Debug)]
pub struct Server {
    /// Address to listen at; `[::]` takes IPv4 too
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// What is spoken
    #[arg(long, value_enum, default_value = "tcp")]
    pub(crate) protocol: Protocol,
}

/// `load client`.
#[derive(Args, Clone, Debug)]
pub struct Client {
    /// Address to connect to
    #[arg(long)]
    pub(crate) to: SocketAddr,
    /// What is spoken
    #[arg(long, value_enum, default_value = "tcp")]
    pub(crate) protocol: Protocol,
    /// Connections
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Bytes of a request's payload
    #[arg(long, default_value_t = 1024)]
    pub(crate) size: usize,
    /// Milliseconds that are measured
    #[arg(long, default_value_t = 3000)]
    pub(crate) duration: u64,
    /// Milliseconds under full load before the measured time begins
    #[arg(long, default_value_t = 500)]
    pub(crate) settle: u64,
    /// Connections made one after the other before all that, with a few requests each
    #[arg(long, default_value_t = 0)]
    pub(crate) warm_up: usize,
    /// A cgroup2 directory whose CPU time in the measured time is reported
    #[arg(long)]
    pub(crate) cpu_of: Option<PathBuf>,
    /// Report the answers of each so many milliseconds from the first connect on
    #[arg(long, default_value_t = 0)]
    pub(crate) series: u64,
    /// Report when each connection's first byte went by redirection, by what TCP has carried
    #[arg(long)]
    pub(crate) first: bool,
    /// Milliseconds without an answer after which a connection is a hang
    #[arg(long, default_value_t = 10_000)]
    pub(crate) stall: u64,
}

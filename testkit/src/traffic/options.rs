//! What `sockway-e2e traffic` takes on its command line.

use std::net::SocketAddr;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::plan::{Ending, Kind, Shapes};

/// Verified traffic.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Accept connections and play the server's part until SIGTERM, then report
    Server(Server),
    /// Make connections, verify every byte, report
    Client(Client),
    /// Make connections and reset each at once, in the middle of its setting up or just after
    Storm(Storm),
}

/// A listening address with the way it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address; `[::]` takes IPv4 too, as v4-mapped addresses.
    pub(crate) address: SocketAddr,
    /// Speak first.
    pub(crate) greet: bool,
    /// Set `TCP_DEFER_ACCEPT`.
    pub(crate) defer: bool,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(',');
        let address = words.next().unwrap_or_default();
        let address = address
            .parse()
            .map_err(|error| format!("address {address:?}: {error}"))?;
        let mut listen = Self {
            address,
            greet: false,
            defer: false,
        };
        for word in words {
            match word {
                "greet" => listen.greet = true,
                "defer" => listen.defer = true,
                _ => return Err(format!("{word:?} is neither greet nor defer")),
            }
        }
        Ok(listen)
    }
}

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// First port.
    pub(crate) first: u16,
    /// How many.
    pub(crate) count: u16,
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (first, last) = text.split_once('-')?;
            let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            Some(Self {
                first,
                count: last.checked_sub(first)?.checked_add(1)?,
            })
        };
        parse().ok_or_else(|| format!("{text:?} is not FIRST-LAST"))
    }
}

/// `traffic server`.
#[derive(Args, Debug)]
pub struct Server {
    /// Address to listen at, with `,greet` to speak first and `,defer` for `TCP_DEFER_ACCEPT`
    #[arg(long, required = true)]
    pub(crate) listen: Vec<Listen>,
    /// Blocking sockets, threads for each connection
    #[arg(long)]
    pub(crate) blocking: bool,
    /// Seconds without movement after which a connection is a hang
    #[arg(long, default_value_t = 15)]
    pub(crate) stall: u64,
}

/// `traffic client`. An option given twice counts as given last.
#[derive(Args, Clone, Debug)]
#[command(args_override_self = true)]
pub struct Client {
    /// Address to connect to; with several, one after the other
    #[arg(long, required = true)]
    pub(crate) to: Vec<SocketAddr>,
    /// Connections in all
    #[arg(long, default_value_t = 1000)]
    pub(crate) connections: u64,
    /// Connections at a time
    #[arg(long, default_value_t = 64)]
    pub(crate) concurrency: usize,
    /// Most bytes of a connection's direction; sizes are log-uniform from 1
    #[arg(long, default_value_t = 1 << 20)]
    pub(crate) max_size: u64,
    /// Least bytes of a connection's direction
    #[arg(long, default_value_t = 1)]
    pub(crate) min_size: u64,
    /// Shapes of conversation, each as likely as it is named often; all unless given
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) kinds: Vec<Kind>,
    /// How conversations in turns end, each as likely as it is named often; all unless given
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) endings: Vec<Ending>,
    /// Most turns of a conversation in turns
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) turns: u16,
    /// The servers speak first
    #[arg(long)]
    pub(crate) greet: bool,
    /// Blocking sockets, threads for each connection
    #[arg(long)]
    pub(crate) blocking: bool,
    /// Connect to IPv4 through `AF_INET6` sockets
    #[arg(long)]
    pub(crate) mapped: bool,
    /// Bind to these local ports, each used towards every address (FIRST-LAST)
    #[arg(long)]
    pub(crate) source_ports: Option<Ports>,
    /// Key of everything random
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Seconds without movement after which a connection is a hang
    #[arg(long, default_value_t = 15)]
    pub(crate) stall: u64,
    /// Seconds after which no new connection is begun
    #[arg(long, default_value_t = 600)]
    pub(crate) time_limit: u64,
}

/// `traffic storm`.
#[derive(Args, Debug)]
pub struct Storm {
    /// Address to connect to
    #[arg(long)]
    pub(crate) to: SocketAddr,
    /// Connections in all
    #[arg(long, default_value_t = 2000)]
    pub(crate) connections: u32,
}

impl Client {
    /// What its conversations are like.
    pub(crate) fn shapes(&self) -> Shapes {
        Shapes {
            kinds: or_all(&self.kinds, &Kind::ALL),
            sizes: (self.min_size.min(self.max_size), self.max_size),
            turns: self.turns,
            endings: or_all(&self.endings, &Ending::ALL),
        }
    }
}

/// What was given, or everything.
fn or_all<T: Copy>(given: &[T], all: &[T]) -> Vec<T> {
    if given.is_empty() { all } else { given }.to_vec()
}

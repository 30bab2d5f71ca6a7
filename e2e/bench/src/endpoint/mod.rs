//! The programs at both ends of what is measured, where neither fortio nor
//! h2load does it. They run in pods, as subcommands of this one.

mod bulk;
mod dial;
mod held;
mod idle;
mod mirror;
mod pair;
mod serve;
mod stream;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use hdrhistogram::Histogram;

use crate::results::Measured;

/// Significant figures of recorded times.
const FIGURES: u8 = 3;
/// Longer times count as this, nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// What runs in a pod.
#[derive(Debug, Subcommand)]
pub(crate) enum Endpoint {
    /// Ping-pong between two threads on one CPU
    Pair(Pair),
    /// New connections one after the other, both ends in this process
    Knock(Pair),
    /// `connect()` alone, both ends in this process
    ReachHere(Pair),
    /// Echo and sink, until SIGTERM
    Serve(Serve),
    /// New connections, one request each
    Dial(Dial),
    /// `connect()` alone
    Reach(Dial),
    /// One request after the other on each connection
    Ask(Dial),
    /// One stream as fast as it goes
    Bulk(Dial),
    /// One stream as fast as it goes, and back
    Mirror(Dial),
    /// One stream to a reader that takes a short read for the end of what is there
    Held(Pair),
    /// Opens connections and keeps them, until SIGTERM
    Idle(Idle),
}

/// What a pair is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// TCP.
    Tcp,
    /// `AF_UNIX`.
    Unix,
}

/// Both ends in one process.
#[derive(Args, Debug)]
pub(crate) struct Pair {
    /// What the pair is made of
    #[arg(long, value_enum, default_value = "tcp")]
    kind: Kind,
    /// Address to connect from
    #[arg(long)]
    from: SocketAddr,
    /// Address to listen at
    #[arg(long)]
    to: SocketAddr,
    /// Bytes of a message
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Milliseconds that are measured
    #[arg(long)]
    millis: u64,
}

/// `serve`.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Address at which everything is sent back
    #[arg(long)]
    echo: SocketAddr,
    /// Address at which bytes are counted
    #[arg(long)]
    sink: SocketAddr,
}

/// The asking end.
#[derive(Args, Debug)]
pub(crate) struct Dial {
    /// Address to connect to
    #[arg(long)]
    to: SocketAddr,
    /// Connections at a time
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Milliseconds that are measured
    #[arg(long)]
    millis: u64,
}

/// `idle`.
#[derive(Args, Debug)]
pub(crate) struct Idle {
    /// Address to connect from; ports are chosen by the kernel
    #[arg(long)]
    from: SocketAddr,
    /// Address to listen at
    #[arg(long)]
    to: SocketAddr,
    /// Connections
    #[arg(long)]
    connections: usize,
}

/// Runs one; its figures on standard output.
pub(crate) fn run(endpoint: &Endpoint) -> Result<()> {
    let measured = match endpoint {
        Endpoint::Pair(options) => pair::run(options)?,
        Endpoint::Knock(options) => pair::knock(options)?,
        Endpoint::ReachHere(options) => pair::reach(options)?,
        Endpoint::Serve(options) => return serve::run(options),
        Endpoint::Dial(options) => dial::dial(options)?,
        Endpoint::Reach(options) => dial::reach(options)?,
        Endpoint::Ask(options) => dial::ask(options)?,
        Endpoint::Bulk(options) => bulk::run(options)?,
        Endpoint::Mirror(options) => mirror::run(options)?,
        Endpoint::Held(options) => held::run(options)?,
        Endpoint::Idle(options) => return idle::run(options),
    };
    println_json(&measured)
}

fn println_json(measured: &Measured) -> Result<()> {
    use std::io::Write as _;
    let text = serde_json::to_string(measured)?;
    writeln!(std::io::stdout(), "{text}").context("write to standard output")
}

/// Times of one run.
struct Times(Histogram<u64>);

impl Times {
    fn new() -> Result<Self> {
        Histogram::new_with_max(LONGEST, FIGURES)
            .map(Self)
            .context("make a histogram")
    }

    fn note(&mut self, since: Instant) {
        let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanos);
    }

    fn measured(&self, over: Duration) -> Measured {
        Measured::of(&self.0, over)
    }
}

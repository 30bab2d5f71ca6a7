//! `sockway-e2e stall`: a sender, and a reader that reads slowly or not at all.

mod client;
mod deaf;
pub mod options;
pub mod report;
mod server;

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::PollFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::net;
use crate::output::{self, Format};
use options::Command;

/// Waits a moment for something to read.
fn wait_readable(stream: &TcpStream) -> Result<()> {
    net::wait_for(stream, PollFlags::POLLIN, Duration::from_millis(100)).map(drop)
}

/// Runs one end.
pub fn run(command: &Command, format: Format) -> Result<()> {
    // Ten thousand connections are more files than a shell allows.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("getrlimit")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("setrlimit")?;
    match command {
        Command::Server(options) => server::run(options, output::ready),
        Command::Deaf(options) => deaf::run(options, output::ready),
        Command::Client(options) => client::run(options, |report| {
            output::print(report, format)?;
            output::ready();
            Ok(())
        }),
    }
}

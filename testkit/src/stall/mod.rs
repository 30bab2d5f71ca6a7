//! `sockway-e2e stall`: a sender, and a reader that reads slowly or not at all.

mod client;
mod deaf;
pub mod options;
pub mod report;
mod server;

use std::net::TcpStream;
use std::os::fd::AsFd as _;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::output::{self, Format};
use options::Command;

/// Waits a moment for something to read.
fn wait_readable(stream: &TcpStream) -> Result<()> {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(100_u8)).context("poll")?;
    Ok(())
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

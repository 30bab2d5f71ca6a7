//! Verified traffic: a client and a server that agree on every byte.
//!
//! Each connection plays a random plan. Both ends check every
//! byte they read against a pattern that depends on the connection, the
//! direction and the position, and check that the stream ends as planned.

mod blocking;
mod client;
mod dial;
mod end;
mod fault;
pub mod options;
mod plan;
pub mod report;
mod rx;
mod script;
mod server;
mod storm;
mod table;
#[cfg(test)]
mod tests;
mod threads;
mod tx;

use anyhow::{Result, bail};

use crate::output::{self, Format};
use options::Command;

/// Runs `traffic server`, `client` or `storm`.
pub fn run(command: &Command, format: Format) -> Result<()> {
    let report = match command {
        Command::Server(options) if options.blocking => threads::serve(options, output::ready)?,
        Command::Server(options) => server::run(options, output::ready)?,
        Command::Client(options) if options.blocking => threads::connect(options)?,
        Command::Client(options) => client::run(options)?,
        Command::Storm(options) => return storm::run(options),
    };
    output::print(&report, format)?;
    if !report.good() {
        bail!(
            "{} of {} connections failed",
            report.connections - report.verified,
            report.connections
        );
    }
    Ok(())
}

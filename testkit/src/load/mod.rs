//! Closed-loop load: TCP and HTTP/1.1 echo, every answer compared.

mod client;
mod codec;
mod early;
pub mod options;
pub mod report;
mod server;

use anyhow::{Result, bail};

use crate::output::{self, Format};
use options::Command;

/// Runs `load server` or `load client`.
pub fn run(command: &Command, format: Format) -> Result<()> {
    match command {
        Command::Server(options) => server::run(options, output::ready),
        Command::Client(options) => {
            let report = client::run(options)?;
            output::print(&report, format)?;
            if report.faults > 0 {
                bail!("{} faults", report.faults);
            }
            Ok(())
        }
    }
}

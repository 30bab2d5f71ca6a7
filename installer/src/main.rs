//! The `sockway` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use sockway_installer::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run().into()
}

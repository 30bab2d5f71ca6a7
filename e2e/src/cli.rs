//! The command line.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use sockway_testkit::output::Format;
use sockway_testkit::{load, stall, stop, traffic};

use crate::{demo, programs, soak, suite, switches};

/// Real pods, real Envoys, verified traffic
#[derive(Debug, Parser)]
#[command(name = "sockway-e2e", version)]
struct Cli {
    /// How results are written
    #[arg(short, long, value_enum, default_value = "human", global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the main job: two pods, two Envoys, plain against accelerated
    Demo(demo::options::Options),
    /// Run the end-to-end cases
    Test(suite::options::Options),
    /// Run real programs, plain and accelerated, and compare
    Programs(programs::options::Options),
    /// Verify connections in great number
    Soak(soak::options::Options),
    /// Switch off and on, uninstall and install, under many connections that live on
    Switches(switches::options::Options),
    /// Verified traffic: server and client
    #[command(subcommand)]
    Traffic(traffic::options::Command),
    /// A sender, and a reader that reads slowly or not at all
    #[command(subcommand)]
    Stall(stall::options::Command),
    /// Closed-loop echo load: server and client
    #[command(subcommand)]
    Load(load::options::Command),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sockway-e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: &Cli) -> Result<()> {
    stop::install()?;
    match &cli.command {
        Command::Demo(options) => demo::run(options, cli.output),
        Command::Test(options) => suite::run(options),
        Command::Programs(options) => programs::run(options, cli.output),
        Command::Soak(options) => soak::run(options, cli.output),
        Command::Switches(options) => switches::run(options, cli.output),
        Command::Traffic(command) => traffic::run(command, cli.output),
        Command::Stall(command) => stall::run(command, cli.output),
        Command::Load(command) => load::run(command, cli.output),
    }
}

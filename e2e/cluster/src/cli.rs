//! The command line.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::options::Options;
use crate::{roles, scenarios, space, up};

/// A whole cluster on one machine: Kubernetes, Istio, and Sockway as users install it
#[derive(Debug, Parser)]
#[command(name = "sockway-cluster", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster
    Up {
        /// Leave up what there is where it fails
        #[arg(long)]
        keep: bool,
    },
    /// End it
    Down,
    /// Start a cluster, run every scenario, print a summary, end the cluster
    Test(Options),
    /// Run a program of the machine in the node
    In {
        /// Program and arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Hold the node's namespaces
    #[command(hide = true)]
    Hold,
    /// Write terway's list, as its daemon does, and stay
    #[command(hide = true)]
    Terwayd {
        /// What the `ConfigMap` has
        #[arg(long)]
        from: PathBuf,
        /// The node's directory
        #[arg(long)]
        to: PathBuf,
    },
    /// Take from the node what a reboot takes
    #[command(hide = true)]
    Reset,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    if let Some(role) = roles::of_name() {
        return role();
    }
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sockway-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    let never = |never: Infallible| match never {};
    match command {
        Command::Up { keep } => up::up(keep).map(|kubectl| up::advise(&kubectl)),
        Command::Down => up::down(),
        Command::Test(options) => test(&options),
        Command::In { command } => {
            let (program, arguments) = command.split_first().expect("clap asks for one");
            space::enter(program, arguments).map(never)
        }
        Command::Hold => space::hold().map(never),
        Command::Terwayd { from, to } => roles::rewrite(&from, &to),
        Command::Reset => space::reset(),
    }
}

/// The cluster goes down again whatever came out, also on Ctrl-C.
fn test(options: &Options) -> Result<()> {
    if options.here {
        return scenarios::run(&up::there()?, options);
    }
    up::down_on_signals()?;
    let kubectl = up::up(options.keep)?;
    let result = scenarios::run(&kubectl, options);
    if options.keep && result.is_err() {
        up::advise(&kubectl);
        return result;
    }
    result.and(kubectl.space.remove())
}

//! The command line.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::filter::Filter;
use crate::report::Report;
use crate::tools::Tools;
use crate::world::{self, Part};
use crate::{bench, cnitool, containerd, reuse};

/// Runs the CNI plugin under the runtimes that will run it
#[derive(Debug, Parser)]
#[command(name = "sockway-conformance", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// cnitool, libcni and the specification by hand: every verb, version and order
    Cnitool(Filter),
    /// A real containerd and runc: pods run and removed through CRI
    Containerd(Filter),
    /// Few addresses, many pods, DELs that come late
    Reuse(reuse::Options),
    /// Time and memory of a call, beside the reference plugins
    Bench(bench::Options),
}

/// Runs the subcommand in a world of its own.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match world::part() {
        Part::Outside => world::enter(),
        Part::Init => world::init(),
        Part::Worker(world) => work(&cli.verb, &world),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sockway-conformance: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(verb: &Verb, world: &world::World) -> Result<ExitCode> {
    let tools = Tools::find()?;
    let mut report = Report::new();
    match verb {
        Verb::Cnitool(filter) => cnitool::run(world, &tools, filter, &mut report)?,
        Verb::Containerd(filter) => containerd::run(world, &tools, filter, &mut report)?,
        Verb::Reuse(options) => reuse::run(world, &tools, options, &mut report)?,
        Verb::Bench(options) => bench::run(world, &tools, options, &mut report)?,
    }
    Ok(report.finish())
}

//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum as _};
use sockway_testkit::mesh::mode::Mtls;
use sockway_testkit::stop;

use crate::endpoint::{self, Endpoint};
use crate::jobs::{self, Job};
use crate::progress::Progress;
use crate::report::{self, Run};
use crate::rounds;
use crate::scene::Scene;
use crate::topic::Topic;
use crate::{fresh, guard};

/// How fast it is: plain TCP, Sockway and yardsticks in turn
#[derive(Debug, Parser)]
#[command(
    name = "sockway-bench",
    version,
    after_help = "Examples:\n  make bench\n  make bench ARGS=\"run --topic echo --rounds 5\"\n  make bench ARGS=\"run --full\"    three hours\n  make bench ARGS=report           the report again, from all raw results"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure, keep the raw results, write the report
    Run(Options),
    /// Write the report of the raw results that are there
    Report(Out),
    /// Fail where it is not clearly faster than plain TCP, and print the programs' sizes
    Guard(guard::Options),
    /// Programs at the ends of what is measured
    #[command(subcommand, hide = true)]
    Endpoint(Endpoint),
}

/// `run`.
#[derive(Args, Debug)]
struct Options {
    /// What to measure; several times for several
    #[arg(long = "topic", value_enum)]
    topics: Vec<Topic>,
    /// Every topic and every point of it
    #[arg(long)]
    full: bool,
    /// Rounds; each measures every mode once
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Milliseconds of each measurement
    #[arg(long, default_value_t = 1000)]
    millis: u64,
    /// Whether the Envoys speak mutual TLS with each other
    #[arg(long, value_enum, default_value = "both")]
    mtls: Mtls,
    /// Milliseconds of each measurement that begins with a cold start
    #[arg(long, default_value_t = 10_000)]
    cold_millis: u64,
    /// Worker threads of each Envoy
    #[arg(long, default_value_t = 2)]
    concurrency: u32,
    /// An eBPF object of another build, which is measured too wherever `auto` is
    #[arg(long)]
    object: Option<PathBuf>,
    #[command(flatten)]
    out: Out,
}

#[derive(Args, Debug)]
struct Out {
    /// Directory of raw results and report
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// What `run` takes without further words: half an hour.
const QUICK: [Topic; 10] = [
    Topic::Echo,
    Topic::Cold,
    Topic::Channel,
    Topic::Held,
    Topic::Half,
    Topic::Protocols,
    Topic::Hop,
    Topic::Connect,
    Topic::Bulk,
    Topic::Tax,
];

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sockway-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &Command) -> Result<()> {
    stop::install()?;
    match command {
        Command::Run(options) => measure(options),
        Command::Report(Out { out }) => report::write(out),
        Command::Guard(options) => guard::run(options),
        Command::Endpoint(endpoint) => endpoint::run(endpoint),
    }
}

fn measure(options: &Options) -> Result<()> {
    let Options {
        topics,
        full,
        rounds,
        millis,
        cold_millis,
        mtls,
        concurrency,
        object,
        out: Out { out },
    } = options;
    let topics = match (topics.as_slice(), full) {
        ([], true) => Topic::value_variants(),
        ([], false) => &QUICK,
        (topics, _) => topics,
    };
    std::fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    let mut progress = Progress::new();
    let mut jobs = jobs::jobs(topics, *full, object.is_some());
    jobs.retain(|job| mtls.takes(job.case.secure));
    let measurements: usize = jobs.iter().map(|job| job.modes.len()).sum();
    progress.expect(rounds * u32::try_from(measurements).context("too many measurements")?);
    let (fresh, warm): (Vec<Job>, Vec<Job>) =
        jobs.into_iter().partition(|job| job.case.topic.fresh());
    let mut samples = Vec::new();
    let mut work = || -> Result<()> {
        if !warm.is_empty() {
            let mut scene = Scene::new(&progress, *concurrency, object.clone())?;
            let times = (*rounds, *millis);
            rounds::run(&mut scene, &warm, times, &mut progress, &mut samples)?;
        }
        let times = (*rounds, *cold_millis);
        fresh::run(&fresh, times, *concurrency, &mut progress, &mut samples)
    };
    let result = work();
    for topic in topics {
        let of_topic = samples.iter().filter(|s| s.case.topic == *topic);
        let millis = if topic.fresh() { cold_millis } else { millis };
        Run::new(*rounds, *millis, *concurrency, of_topic.cloned().collect())?.save(out, *topic)?;
    }
    report::write(out)?;
    result
}

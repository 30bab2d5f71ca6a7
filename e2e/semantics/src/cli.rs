//! The command line.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use nix::unistd::Uid;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::node::Node;
use crate::report::{self, Totals};
use crate::runner::{self, Task};
use crate::variant::{Kind, Mode};
use crate::{cases, child, judge, pace};

/// What TCP sockets promise an application, plain and accelerated in the same run.
///
/// Exits with 0 where every case holds but the known exceptions.
#[derive(Debug, Parser)]
#[command(name = "sockway-semantics", version)]
struct Cli {
    /// Run only cases whose name contains this
    filter: Option<String>,
    /// List the cases and what they promise
    #[arg(long)]
    list: bool,
    /// How results are written
    #[arg(short, long, value_enum, default_value = "human")]
    output: Format,
    /// Columns beside auto; sudden and all for information only
    #[arg(long, value_enum, value_delimiter = ',', default_value = "auto")]
    scope: Vec<Scope>,
    /// How many runs at a time
    #[arg(long, default_value_t = 8)]
    jobs: usize,
    /// Let everything take so many times as long, for slow or emulated machines
    #[arg(long, default_value_t = 1)]
    pace: u32,
    /// How long the case "idle" lets a connection be idle, seconds; more than 60 for minutes
    #[arg(long, default_value_t = pace::DEFAULT_IDLE)]
    idle: u64,
    /// Runs one job in this process, for the suite itself
    #[arg(long, hide = true)]
    run: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Human,
    /// For programs
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scope {
    /// Judged, and always there
    Auto,
    /// The case's calls are new to an address that is known as fit
    Sudden,
    /// Connections are open before they are brought in; judged as auto
    Late,
    /// Everything redirected at once
    All,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    match dispatch(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sockway-semantics: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: &Cli) -> Result<bool> {
    if let Some(job) = &cli.run {
        return child::run(job).map(|()| true);
    }
    if cli.list {
        let mut out = std::io::stdout().lock();
        for case in cases::all() {
            writeln!(out, "{:28} {}", case.name, case.promise)?;
        }
        return Ok(true);
    }
    suite(cli)
}

fn suite(cli: &Cli) -> Result<bool> {
    if !Uid::effective().is_root() {
        bail!("needs root: it loads programs and makes network namespaces");
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("handle signals")?;
    }
    let extra = extra(&cli.scope);
    let filter = cli.filter.as_deref().unwrap_or("");
    let tasks = tasks(filter, &extra);
    if tasks.is_empty() {
        bail!(
            "no case's name contains {:?}; --list shows them",
            cli.filter
        );
    }
    pace::set(cli.pace);
    pace::set_idle(cli.idle);
    let node = Node::new()?;
    let outcomes = runner::run(&node, &tasks, cli.jobs, &stop)?;
    let rows = judge::rows(&tasks, &outcomes);
    let mut out = std::io::stdout().lock();
    match cli.output {
        Format::Human => report::human(&rows, &extra, &node.limits, &mut out)?,
        Format::Json => report::json(&rows, &node.limits, &mut out)?,
    }
    let totals = Totals::of(&rows);
    Ok(totals.failed == 0 && totals.passed > 0)
}

fn extra(scopes: &[Scope]) -> Vec<Mode> {
    let wanted = [
        (Scope::Sudden, Mode::Sudden),
        (Scope::Late, Mode::Late),
        (Scope::All, Mode::All),
    ];
    wanted
        .into_iter()
        .filter(|(scope, _)| scopes.contains(scope))
        .map(|(_, mode)| mode)
        .collect()
}

fn tasks(filter: &str, extra: &[Mode]) -> Vec<Task> {
    let modes: Vec<_> = [Mode::Plain, Mode::Auto]
        .into_iter()
        .chain(extra.iter().copied())
        .collect();
    let mut tasks = Vec::new();
    for case in cases::all().filter(|case| case.name.contains(filter)) {
        for &family in case.families {
            for kind in Kind::ALL.into_iter().filter(|kind| kind.is_in(case.kinds)) {
                tasks.extend(modes.iter().map(|&mode| Task {
                    case,
                    kind,
                    family,
                    mode,
                }));
            }
        }
    }
    tasks
}

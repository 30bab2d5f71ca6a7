//! The command line.

use std::io::Write as _;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use nix::unistd::Uid;
use signal_hook::consts::{SIGINT, SIGTERM};
use sockway_common::policy::fionread;

use crate::node::Node;
use crate::report::{self, Totals};
use crate::runner::{self, Task};
use crate::variant::{Family, Hop, Kind, Mode, Role, Variant};
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
    /// Which other hops and modes each case is run in, beside the usual ones
    #[arg(long, value_enum, default_value = "some")]
    variants: Which,
    /// Only these modes, beside plain
    #[arg(long, value_enum, value_delimiter = ',')]
    mode: Vec<Mode>,
    /// Only these hops
    #[arg(long, value_enum, value_delimiter = ',')]
    hop: Vec<Hop>,
    /// Treat FIONREAD as answered rightly for sockets in a sockhash, whatever this kernel does: halves
    /// take part then; what asks for it is not judged
    #[arg(long)]
    trust_fionread: bool,
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
    /// Accepts at this descriptor, for a case
    #[arg(long, hide = true)]
    serve: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Human,
    /// For programs
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// None
    None,
    /// Two for each case, others for each
    Some,
    /// All
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
    if let Some(fd) = cli.serve {
        // SAFETY: whoever runs this program so has left that descriptor to it alone.
        let listener = unsafe { OwnedFd::from_raw_fd(fd) };
        return cases::serve(&listener.into()).map(|()| true);
    }
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
    let tasks = tasks(cli);
    if tasks.is_empty() {
        bail!(
            "no case's name contains {:?}; --list shows them",
            cli.filter
        );
    }
    pace::set(cli.pace);
    pace::set_idle(cli.idle);
    let node = Node::new(cli.trust_fionread.then_some(fionread::RIGHT))?;
    let outcomes = runner::run(&node, &tasks, cli.jobs, &stop)?;
    let rows = judge::rows(&tasks, &outcomes);
    let mut out = std::io::stdout().lock();
    match cli.output {
        Format::Human => report::human(&rows, &node.limits, &mut out)?,
        Format::Json => report::json(&rows, &node.limits, &mut out)?,
    }
    let totals = Totals::of(&rows);
    Ok(totals.failed == 0 && totals.passed > 0)
}

/// How many other variants a case is run in of each kind where only some are.
const SOME: usize = 2;

/// What is run: each case plain, as usual, and in the other variants that are wanted.
fn tasks(cli: &Cli) -> Vec<Task> {
    let filter = cli.filter.as_deref().unwrap_or("");
    let mut variants = Variant::all();
    if cli.mode.contains(&Mode::All) {
        variants.extend([Role::Server, Role::Client].map(Variant::everything));
    }
    variants.retain(|v| {
        (cli.mode.is_empty() || cli.mode.contains(&v.mode))
            && (cli.hop.is_empty() || cli.hop.contains(&v.hop))
    });
    let usual = |kind: Kind| {
        let hop = Hop::usual(kind.role);
        (cli.mode.is_empty() || cli.mode.contains(&Mode::Auto))
            && (cli.hop.is_empty() || cli.hop.contains(&hop))
    };
    let mut tasks = Vec::new();
    let mut turn = 0;
    for case in cases::all().filter(|case| case.name.contains(filter)) {
        for &family in case.families {
            for kind in Kind::ALL.into_iter().filter(|kind| kind.is_in(case.kinds)) {
                let task = |hop, mode| Task {
                    case,
                    kind,
                    hop,
                    family,
                    mode,
                };
                let hop = Hop::usual(kind.role);
                let begin = tasks.len();
                tasks.push(task(hop, Mode::Plain));
                if usual(kind) {
                    tasks.push(task(hop, Mode::Auto));
                }
                let fits: Vec<_> = variants.iter().filter(|v| v.is_for(kind)).collect();
                let wanted = match cli.variants {
                    _ if fits.is_empty() || family == Family::Mapped => 0,
                    Which::Some if family == Family::V4 => SOME,
                    Which::None | Which::Some => 0,
                    Which::All => fits.len(),
                };
                for at in 0..wanted {
                    let variant = match cli.variants {
                        Which::All => fits[at],
                        // Prime to how many there are: neighbours get others.
                        _ => fits[turn * 11 % fits.len()],
                    };
                    turn += 1;
                    tasks.push(task(variant.hop, variant.mode));
                }
                if tasks.len() == begin + 1 {
                    tasks.truncate(begin);
                }
            }
        }
    }
    tasks
}

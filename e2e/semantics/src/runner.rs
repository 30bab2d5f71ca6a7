//! Runs jobs, several at a time, each in a process with a time limit.

use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Serialize;
use sockway_common::scope;

use crate::case::Case;
use crate::child::{Counted, Job, Line};
use crate::facts::Fact;
use crate::node::Node;
use crate::pace;
use crate::place::Pod;
use crate::variant::{Family, Hop, Kind, Mode};

/// How long after a run's end its last sockets may take to be counted.
const COUNTING: Duration = Duration::from_millis(300);

/// A job to do.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    /// The case.
    pub(crate) case: &'static Case,
    /// The end under test.
    pub(crate) kind: Kind,
    /// Where it is.
    pub(crate) hop: Hop,
    /// Its addresses.
    pub(crate) family: Family,
    /// Plain or accelerated.
    pub(crate) mode: Mode,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "how", content = "text")]
pub(crate) enum Ending {
    /// To its end.
    Finished,
    /// With an error.
    Failed(String),
    /// Not within the time limit; after what.
    Hung(String),
    /// The process ended early.
    Died(String),
    /// The kernel lacks what the case needs.
    Unavailable(String),
}

/// What a run gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// What was seen.
    pub(crate) facts: Vec<Fact>,
    /// How it ended.
    pub(crate) ending: Ending,
    /// What was counted, warm-up excluded.
    pub(crate) counted: Counted,
    /// Connections that were brought in before the case used them.
    pub(crate) came_in: u64,
    /// How long it took, milliseconds.
    pub(crate) took_ms: u64,
}

/// Runs every task, `at_once` at a time; the outcomes in the order of the tasks.
pub(crate) fn run(
    node: &Node,
    tasks: &[Task],
    at_once: usize,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Outcome>> {
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<Option<Outcome>>> = Mutex::new(vec![None; tasks.len()]);
    let progress = Progress::new(tasks.len());
    let work = || -> Result<()> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(at) else {
                return Ok(());
            };
            let outcome = one(node, task, u16::try_from(at + 1)?, stop).inspect_err(|_| {
                next.store(tasks.len(), Ordering::Relaxed);
            })?;
            outcomes.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(outcome);
            progress.step();
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.max(1)).map(|_| scope.spawn(work)).collect();
        let mut result = Ok(());
        for worker in workers {
            let ended = worker.join().unwrap_or_else(|_| bail!("a worker panicked"));
            result = result.and(ended);
        }
        result
    })?;
    let outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .context("not every run was made")
}

fn one(node: &Node, task: &Task, number: u16, stop: &AtomicBool) -> Result<Outcome> {
    let pod = Pod::of(number);
    let scope = if task.mode == Mode::All {
        scope::ALL
    } else {
        scope::AUTO
    };
    node.register(pod, scope)?;
    let outcome = process(node, task, number, stop);
    node.unregister(pod)?;
    outcome
}

fn process(node: &Node, task: &Task, number: u16, stop: &AtomicBool) -> Result<Outcome> {
    let job = Job {
        case: task.case.name.to_owned(),
        kind: task.kind,
        hop: task.hop,
        family: task.family,
        mode: task.mode,
        pod: number,
        pace: pace::factor(),
        idle: pace::idle().as_secs(),
        pins: node.pins().root().to_owned(),
        cgroup: node.cgroup().to_owned(),
    };
    let started = Instant::now();
    let mut child = Command::new(std::env::current_exe().context("find this program")?)
        .arg("--run")
        .arg(serde_json::to_string(&job)?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("start a run")?;
    let stdout = child.stdout.take().context("a piped standard output")?;
    let reader = thread::spawn(move || lines(stdout));
    // Two warm-ups and the run itself may be idle twice each.
    let limit = pace::allow(task.case.limit) + 6 * pace::idle();
    let keeper = (task.mode != Mode::Plain).then_some(&node.keeper);
    if let Some(keeper) = keeper {
        keeper.begin(child.id(), task.mode == Mode::Late);
    }
    let status = wait(&mut child, limit, stop);
    if let Some(keeper) = keeper {
        keeper.end(child.id());
    }
    let status = status?;
    let took_ms = u64::try_from(started.elapsed().as_millis())?;
    let Ok(lines) = reader.join() else {
        bail!("the reader of a run's output panicked")
    };
    let (mut facts, mut before, mut end, mut came_in) = (Vec::new(), None, None, 0);
    for line in lines? {
        match line {
            Line::Begin(counted) => before = Some(counted),
            Line::Fact(fact) => facts.push(fact),
            Line::CameIn(count) => came_in = count,
            last => end = Some(last),
        }
    }
    let ending = match (status, end, before) {
        (_, Some(Line::End(None)), _) => Ending::Finished,
        (_, Some(Line::End(Some(error))), _) => Ending::Failed(error),
        (_, Some(Line::Unavailable(why)), _) => Ending::Unavailable(why),
        (None, _, None) => Ending::Hung("in the warm-up".into()),
        (None, _, _) => Ending::Hung(facts.last().map_or("at its first step".into(), |fact| {
            format!("after {:?}", fact.what)
        })),
        (Some(status), _, _) => Ending::Died(status.to_string()),
    };
    let counted = match before {
        Some(before) if task.mode != Mode::Plain => count(node, Pod::of(number), before)?,
        _ => Counted::default(),
    };
    Ok(Outcome {
        facts,
        ending,
        counted,
        came_in,
        took_ms,
    })
}

fn lines(stdout: ChildStdout) -> Result<Vec<Line>> {
    let lines = BufReader::new(stdout).lines();
    lines
        .map(|line| serde_json::from_str(&line?).context("read a run's output"))
        .collect()
}

/// Waits for a run and ends it, with its own children, where it takes too long: then `None`.
fn wait(child: &mut Child, limit: Duration, stop: &AtomicBool) -> Result<Option<ExitStatus>> {
    let (started, group) = (Instant::now(), Pid::from_raw(i32::try_from(child.id())?));
    loop {
        let ended = child.try_wait().context("wait for a run")?;
        let interrupted = stop.load(Ordering::Relaxed);
        if ended.is_some() || interrupted || started.elapsed() > limit {
            // The run is the leader of a group of its own; what it started may outlive it.
            let _gone = killpg(group, Signal::SIGKILL);
            if ended.is_none() {
                child.wait().context("wait for a killed run")?;
            }
            if interrupted {
                bail!("interrupted");
            }
            return Ok(ended);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What a run was counted: its sockets add their figures when they close.
fn count(node: &Node, pod: Pod, before: Counted) -> Result<Counted> {
    let started = Instant::now();
    loop {
        let since = Counted::read(node.pins(), pod)?.since(before);
        if since.paired == 0 || since.redirected > 0 || started.elapsed() > COUNTING {
            return Ok(since);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Says how far the suite has come: on a terminal in place, else now and then.
struct Progress {
    total: usize,
    done: AtomicUsize,
    terminal: bool,
}

impl Progress {
    fn new(total: usize) -> Self {
        Self {
            total,
            done: AtomicUsize::new(0),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.terminal {
            let end = if done == self.total { "\n" } else { "" };
            eprint!("\r{done} of {} runs{end}", self.total);
        } else if done == self.total || done.is_multiple_of(100) {
            eprintln!("{done} of {} runs", self.total);
        }
    }
}

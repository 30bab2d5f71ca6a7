//! What `sockway run` does on a node, for the suite's: ends that may come in do, unfit ones leave.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use sockway_datapath::Pins;
use sockway_datapath::late::{Events, Late, next_pass};

/// How long it waits for something to be told at most.
const WAIT: Duration = Duration::from_millis(50);
/// How often it looks for connections that are older than their pod's registration. `sockway run`
/// takes its time; here somebody waits.
const ADOPT_EVERY: Duration = Duration::from_millis(150);

/// The runs whose namespaces it may enter, by their process ids; whether it is to adopt there.
type Runs = Arc<Mutex<HashMap<u32, bool>>>;

/// A thread that keeps the node until it is dropped.
pub(crate) struct Keeper {
    runs: Runs,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Keeper {
    /// Starts it.
    pub(crate) fn start(pins: &Pins) -> Result<Self> {
        let late = Late::open(pins, "/proc".into()).context("bring ends in late")?;
        if let Some(why) = late.blind() {
            return Err(anyhow!(why));
        }
        let events = Events::open(pins)?;
        let (runs, stop) = (Runs::default(), Arc::new(AtomicBool::new(false)));
        let (theirs, until) = (Arc::clone(&runs), Arc::clone(&stop));
        let thread = thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || keep(late, events, &theirs, &until))
            .context("start a thread")?;
        Ok(Self {
            runs,
            stop,
            thread: Some(thread),
        })
    }

    /// A run began whose sockets take part; `adopt`: it opens connections before its pod is registered.
    pub(crate) fn begin(&self, pid: u32, adopt: bool) {
        lock(&self.runs).insert(pid, adopt);
    }

    /// It ended.
    pub(crate) fn end(&self, pid: u32) {
        lock(&self.runs).remove(&pid);
    }

    /// Ends the thread; an error where it had ended by one.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(ended)) => ended.context("the keeper"),
            Some(Err(_)) => Err(anyhow!("the keeper panicked")),
        }
    }
}

fn lock(runs: &Runs) -> std::sync::MutexGuard<'_, HashMap<u32, bool>> {
    runs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the namespaces of runs; those that are wanted, where `wanted` is given.
fn namespaces(pids: &[u32], wanted: Option<&HashSet<u64>>) -> Vec<File> {
    let own = fs::metadata("/proc/self/ns/net").map_or(0, |m| m.ino());
    let mut seen = HashSet::from([own]);
    let files = pids.iter().filter_map(|pid| {
        let file = File::open(format!("/proc/{pid}/ns/net")).ok()?;
        let inode = file.metadata().ok()?.ino();
        let take = wanted.is_none_or(|wanted| wanted.contains(&inode)) && seen.insert(inode);
        take.then_some(file)
    });
    files.collect()
}

fn keep(mut late: Late, mut events: Events, runs: &Runs, stop: &AtomicBool) -> Result<()> {
    let (mut pass_at, mut adopt_at) = (Instant::now(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        events.wait(late.next_turn().unwrap_or(WAIT))?;
        let told = events.read();
        let now: Vec<(u32, bool)> = lock(runs)
            .iter()
            .map(|(pid, adopt)| (*pid, *adopt))
            .collect();
        let all: Vec<u32> = now.iter().map(|(pid, _)| *pid).collect();
        let places = |wanted: &HashSet<u64>| namespaces(&all, Some(wanted));
        late.turn(&told, &places)?;
        let began = Instant::now();
        if began >= adopt_at {
            let old: Vec<u32> = now
                .iter()
                .filter(|(_, adopt)| *adopt)
                .map(|(pid, _)| *pid)
                .collect();
            if !old.is_empty() {
                // Registered pods of the suite do not say where they are.
                late.adopt(&|_: &HashSet<u64>| namespaces(&old, None))?;
            }
            late.forget(&places)?;
            adopt_at = Instant::now() + ADOPT_EVERY;
        }
        if began >= pass_at {
            let looked = Instant::now();
            late.pass(&places)?;
            pass_at = next_pass(Instant::now(), looked.elapsed());
        }
    }
    Ok(())
}

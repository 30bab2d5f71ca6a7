//! The loop of `sockway run`: look, repair, reconcile, wait.

mod pods;
mod repair;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use sockway_datapath::probe;
use sockway_datapath::sweep::Handshakes;

use super::drift::{Detector, Drift};
use super::places::{self, Place};
use super::pulse::Pulse;
use super::receive_hook::Hook;
use super::rhythm::Rhythm;
use super::shared::Shared;
use super::watch::{Watch, Woken};
use crate::cni::CniArgs;
use crate::exit::chain;
use crate::node::{Host, Wanted};
use crate::reconcile::{Memory, SourceArgs};

/// First pause after something that could not be done; doubles up to [`LAST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Short enough that a node is ready again soon after what was in the way is gone.
const LAST_RETRY: Duration = Duration::from_secs(2);
/// How often to look for what no event tells of.
const BEAT: Duration = Duration::from_secs(1);
/// How long a process goes on that a restart would mend, for whoever watches its health.
const SICK: Duration = Duration::from_secs(10);

/// Keeps one node.
#[derive(Debug)]
pub struct Keeper {
    wanted: Wanted,
    /// The places as they were given; those in `wanted` may be their successors.
    given: CniArgs,
    host: Host,
    sources: SourceArgs,
    /// How often the registered set is compared with the live pods.
    reconcile_every: Duration,
    shared: Arc<Shared>,
    detector: Detector,
    pulse: Pulse,
    next_beat: Instant,
    /// Whether programs are in place, be they another run's.
    attached: bool,
    /// Whether this process has put its own programs in place.
    programs_are_ours: bool,
    /// When to try again to put them in place, and the pause after that.
    next_programs: Instant,
    programs_retry: Duration,
    next_reconcile: Instant,
    /// Whether an entry was put into a list since the last comparison.
    listed: bool,
    /// Why pods could not be compared the last time.
    not_compared: String,
    memory: Memory,
    handshakes: Handshakes,
    handshakes_looked: Instant,
    hook: Hook,
    retry: Duration,
    drift: BTreeSet<Drift>,
    beside: Vec<String>,
    sick_since: Option<Instant>,
    last_trouble: String,
}

impl Keeper {
    /// For a node whose host was checked.
    pub fn new(
        wanted: Wanted,
        host: Host,
        sources: SourceArgs,
        reconcile_every: Duration,
        shared: Arc<Shared>,
    ) -> Self {
        let now = Instant::now();
        Self {
            given: wanted.cni.clone(),
            wanted,
            host,
            sources,
            reconcile_every,
            shared,
            detector: Detector::default(),
            pulse: Pulse::default(),
            next_beat: now,
            attached: false,
            programs_are_ours: false,
            next_programs: now,
            programs_retry: FIRST_RETRY,
            next_reconcile: now,
            listed: false,
            not_compared: String::new(),
            memory: Memory::default(),
            handshakes: Handshakes::default(),
            handshakes_looked: now,
            hook: Hook::new(now),
            retry: FIRST_RETRY,
            drift: BTreeSet::new(),
            beside: Vec::new(),
            sick_since: None,
            last_trouble: String::new(),
        }
    }

    /// Keeps the node until a signal comes. The node is left as it is.
    ///
    /// # Errors
    ///
    /// Where waiting itself fails, or only a restart can mend what is wrong: everything else is
    /// tried again.
    pub fn run(&mut self, watch: &mut Watch) -> Result<()> {
        let mut rhythm = Rhythm::new(Instant::now());
        loop {
            let limit = self
                .next_look(&rhythm)
                .saturating_duration_since(Instant::now());
            match watch.wait(limit)? {
                Woken::Stop => {
                    if let Err(e) = Hook::leave(&self.wanted.pins) {
                        log::warn!("new edge-triggered applications stay on TCP: {e}");
                    }
                    return Ok(());
                }
                Woken::Changed => rhythm.event(Instant::now()),
                Woken::Nothing => {}
            }
            let now = Instant::now();
            if self.next_beat <= now {
                self.next_beat = now + BEAT;
                self.beat(&mut rhythm, now)?;
            }
            if rhythm.next_look() <= now {
                self.turn(watch, &mut rhythm, now);
            }
            self.reconcile_if_due(now);
            // Where the maps are not there this is not what has to be repaired.
            if self.programs_are_ours
                && let Err(e) = self.hook.turn(&self.wanted.pins, now)
            {
                log::debug!("cannot look at what applications ask for: {e}");
            }
        }
    }

    fn next_look(&self, rhythm: &Rhythm) -> Instant {
        let next = rhythm.next_look().min(self.next_beat);
        if self.programs_are_ours {
            next.min(self.hook.next_look()).min(self.next_reconcile)
        } else {
            next
        }
    }

    /// Looks for what no event tells of, and whether a restart is due.
    fn beat(&mut self, rhythm: &mut Rhythm, now: Instant) -> Result<()> {
        self.find_places();
        let pulse = Pulse::take(&self.wanted);
        if pulse != self.pulse {
            self.pulse = pulse;
            rhythm.event(now);
        }
        if let Some(since) = self.sick_since
            && now.duration_since(since) > SICK
        {
            let why = self.shared.lock().sick.clone().unwrap_or_default();
            bail!("only a restart can mend this: {why}");
        }
        Ok(())
    }

    /// Follows directories that were removed under a mount to what took their place.
    fn find_places(&mut self) {
        let mut sick = Vec::new();
        let mut follow = |given: &PathBuf, now: &mut PathBuf| match places::look(given) {
            Place::There | Place::Missing => given.clone_into(now),
            Place::Removed {
                successor: Some(successor),
            } => {
                if *now != successor {
                    log::warn!(
                        "what is mounted at {} was removed on the node; its successor is reached at {}",
                        given.display(),
                        successor.display()
                    );
                    *now = successor;
                }
            }
            Place::Removed { successor: None } => {
                given.clone_into(now);
                sick.push(format!(
                    "what is mounted at {} was removed on the node, and what took its place cannot be reached \
                     from here",
                    given.display()
                ));
            }
        };
        let cni = &mut self.wanted.cni;
        follow(&self.given.cni_conf_dir, &mut cni.cni_conf_dir);
        follow(&self.given.cni_bin_dir, &mut cni.cni_bin_dir);
        if sick.is_empty() {
            self.sick_since = None;
        } else {
            self.sick_since.get_or_insert_with(Instant::now);
        }
        let sick = (!sick.is_empty()).then(|| sick.join("; "));
        self.shared.lock().sick = sick;
    }

    fn turn(&mut self, watch: &mut Watch, rhythm: &mut Rhythm, now: Instant) {
        rhythm.looking(now);
        let mut trouble: Vec<String> = self.shared.lock().sick.clone().into_iter().collect();
        // Watched before it is looked at, so that no change falls between the two.
        self.watch_directories(watch);
        let mut drift = Vec::new();
        let looked = self
            .detector
            .look(&self.wanted, &self.host, &mut drift, &mut trouble);
        trouble.extend(looked.err().map(|e| chain(&e)));
        self.attached = !drift.contains(&Drift::Programs);
        if !self.programs_are_ours && self.attached {
            drift.push(Drift::Programs);
        }
        drift.sort();
        let found: BTreeSet<Drift> = drift.iter().cloned().collect();
        for new in found.difference(&self.drift) {
            *self.shared.lock().drift.entry(new.name()).or_default() += 1;
        }
        self.drift = found;
        self.note(watch);
        if !drift.is_empty() {
            // From now on: a repair may take a second.
            let line = format!("not as wanted, being put right: {}", names(&drift));
            self.shared.lock().not_ready = vec![line];
            self.repair(&drift, rhythm, now, &mut trouble);
        }
        self.look_beside(&mut trouble);
        if self.programs_are_ours
            && let Err(e) = self.wanted.switch()
        {
            trouble.push(format!("cannot switch this node off or on: {e}"));
        }
        // Before it is said to be ready.
        self.reconcile_if_due(now);
        self.conclude(trouble, rhythm, now);
    }

    fn watch_directories(&self, watch: &mut Watch) {
        let CniArgs {
            cni_conf_dir,
            cni_bin_dir,
            ..
        } = &self.wanted.cni;
        for directory in [cni_conf_dir, cni_bin_dir] {
            // Not there, or no watch left: the beat sees what changes, a second later.
            if let Err(e) = watch.directory(directory) {
                log::debug!("{e:#}");
            }
        }
    }

    /// What is as wanted, for the metrics.
    fn note(&self, watch: &Watch) {
        let drifts = |name| self.drift.iter().any(|drift| drift.name() == name);
        let mut known = self.shared.lock();
        let sick = known.sick.is_some();
        let moved = self.wanted.cni.cni_bin_dir != self.given.cni_bin_dir
            || self.wanted.cni.cni_conf_dir != self.given.cni_conf_dir;
        for (what, is) in [
            ("programs", !drifts("programs")),
            ("plugin", !drifts("plugin")),
            ("conflist", !drifts("conflist")),
            ("directories", !sick && !moved),
            ("watch", watch.is_whole()),
            ("beside", self.beside.is_empty()),
        ] {
            known.as_wanted.insert(what, is);
        }
    }

    /// Programs of others at the same place.
    fn look_beside(&mut self, trouble: &mut Vec<String>) {
        let cgroup = self.host.cgroup.path();
        let second = probe::another_sockway(&self.wanted.pins, cgroup).unwrap_or_default();
        if let Some(id) = second.first() {
            trouble.push(format!(
                "another Sockway is attached to {} (program {id}): two of them take each other's sockets; uninstall \
                 one (`sockway uninstall --bpffs DIR`)",
                cgroup.display()
            ));
        }
        let others = probe::others(cgroup).unwrap_or_default();
        let mut beside: Vec<String> = others
            .iter()
            .filter(|other| other.hook == "sock_ops")
            .map(|other| format!("{} program {} ({})", other.hook, other.id, other.name))
            .collect();
        beside.sort();
        if beside != self.beside {
            if beside.is_empty() {
                log::info!("no sock_ops program of others is beside ours any more");
            } else {
                log::warn!(
                    "beside ours, and able to answer or to overwrite what ours answers: {}",
                    beside.join(", ")
                );
            }
            self.beside = beside;
        }
    }

    fn conclude(&mut self, trouble: Vec<String>, rhythm: &mut Rhythm, now: Instant) {
        let line = trouble.join("; ");
        if line != self.last_trouble {
            if line.is_empty() {
                log::info!("the node is as it should be");
            } else {
                log::warn!("{line}");
            }
            self.last_trouble.clone_from(&line);
        }
        if trouble.is_empty() {
            self.retry = FIRST_RETRY;
        } else {
            rhythm.retry(now, self.retry);
            self.retry = (self.retry * 2).min(LAST_RETRY);
        }
        let mut known = self.shared.lock();
        known.not_ready = trouble;
        known.last_look = now;
    }
}

fn names(drift: &[Drift]) -> String {
    let mut names: Vec<&str> = drift.iter().map(Drift::name).collect();
    names.dedup();
    names.join(", ")
}

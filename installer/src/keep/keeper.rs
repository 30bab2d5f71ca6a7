//! The loop of `sockway run`: look, repair, reconcile, wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sockway_datapath::sweep::Handshakes;

use super::drift::{Detector, Drift};
use super::ends::Hook;
use super::existing::Looks;
use super::programs;
use super::rhythm::Rhythm;
use super::shared::Shared;
use super::watch::{Watch, Woken};
use crate::layouts;
use crate::node::{Host, Wanted};
use crate::reconcile::{self, SourceArgs};
use crate::undo::Undo;

/// First pause after something that could not be done; doubles up to [`LAST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Least time between two looks for handshakes that were never completed: far
/// above the longest one (`tcp_synack_retries`: 63 s).
const HANDSHAKES_EVERY: Duration = Duration::from_mins(3);

/// Keeps one node.
#[derive(Debug)]
pub struct Keeper {
    wanted: Wanted,
    host: Host,
    sources: SourceArgs,
    /// Looks for connections that were open already, where that is wanted.
    looks: Option<Looks>,
    /// How often the registered set is compared with the live pods.
    reconcile_every: Duration,
    shared: Arc<Shared>,
    detector: Detector,
    /// Whether this process has put its own programs in place.
    programs_are_ours: bool,
    next_reconcile: Instant,
    handshakes: Handshakes,
    handshakes_looked: Instant,
    hook: Hook,
    retry: Duration,
    last_trouble: String,
}

impl Keeper {
    /// For a node whose host was checked.
    pub fn new(
        wanted: Wanted,
        host: Host,
        mut sources: SourceArgs,
        reconcile_every: Duration,
        shared: Arc<Shared>,
    ) -> Self {
        // By a process of its own, not by the loop's own reconciling.
        let existing = std::mem::take(&mut sources.existing_connections);
        Self {
            looks: existing.then(Looks::default),
            wanted,
            host,
            sources,
            reconcile_every,
            shared,
            detector: Detector::default(),
            programs_are_ours: false,
            next_reconcile: Instant::now(),
            handshakes: Handshakes::default(),
            handshakes_looked: Instant::now(),
            hook: Hook::new(Instant::now()),
            retry: FIRST_RETRY,
            last_trouble: String::new(),
        }
    }

    /// Keeps the node until a signal comes. The node is left as it is.
    ///
    /// # Errors
    ///
    /// Where waiting itself fails: everything else is tried again.
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
            if rhythm.next_look() <= now {
                self.turn(watch, &mut rhythm, now);
            }
            // Where the maps are not there this is not what has to be repaired.
            if self.programs_are_ours
                && let Err(e) = self.hook.turn(&self.wanted.pins, now)
            {
                log::debug!("cannot look at what applications ask for: {e}");
            }
        }
    }

    fn next_look(&self, rhythm: &Rhythm) -> Instant {
        let next = rhythm.next_look();
        if self.programs_are_ours {
            next.min(self.hook.next_look())
        } else {
            next
        }
    }

    fn turn(&mut self, watch: &Watch, rhythm: &mut Rhythm, now: Instant) {
        rhythm.looking(now);
        let mut drift = Vec::new();
        // Watched before it is looked at, so that no change falls between the two.
        let looked = self.watch_directories(watch).and(self.detector.look(
            &self.wanted,
            &self.host,
            &mut drift,
        ));
        if !self.programs_are_ours && !drift.contains(&Drift::Programs) {
            drift.push(Drift::Programs);
        }
        drift.sort();
        let mut trouble: Vec<String> = looked
            .err()
            .map(|e| crate::exit::chain(&e))
            .into_iter()
            .collect();
        if !drift.is_empty() {
            self.repair(drift, rhythm, now, &mut trouble);
        }
        if trouble.is_empty() && Instant::now() >= self.next_reconcile {
            self.reconcile(now);
        }
        self.conclude(trouble, rhythm, now);
    }

    fn watch_directories(&self, watch: &Watch) -> Result<()> {
        watch.directory(&self.wanted.cni.cni_conf_dir)?;
        watch.directory(&self.wanted.cni.cni_bin_dir)
    }

    fn repair(
        &mut self,
        mut drift: Vec<Drift>,
        rhythm: &mut Rhythm,
        now: Instant,
        trouble: &mut Vec<String>,
    ) {
        for one in &drift {
            *self.shared.lock().drift.entry(one.name()).or_default() += 1;
        }
        if !rhythm.may_repair(now) {
            self.shared.lock().throttled += 1;
            trouble.push(format!(
                "repairs come too often; put off: {}",
                names(&drift)
            ));
            return;
        }
        // One call puts all conflists right.
        drift.dedup_by_key(|one| one.name());
        for one in drift {
            if let Err(e) = self.repair_one(&one) {
                self.shared.lock().failures += 1;
                trouble.push(crate::exit::chain(&e));
                // What comes later is of no use, or harmful, without this.
                return;
            }
            *self.shared.lock().repairs.entry(one.name()).or_default() += 1;
        }
        // Somebody else may have written at the same time: look again.
        rhythm.event(now);
    }

    fn repair_one(&mut self, drift: &Drift) -> Result<()> {
        // Nothing is taken back: the next turn goes on from here.
        let mut undo = Undo::default();
        match drift {
            Drift::Programs => {
                let report = programs::put().context("cannot put the programs in place")?;
                self.programs_are_ours = true;
                self.hook.installed(Instant::now());
                self.next_reconcile = Instant::now();
                let how = if report.replaced {
                    "replaced in place"
                } else {
                    "attached"
                };
                log::info!("programs {how} at {}", self.host.cgroup.path().display());
                for limit in report.limits {
                    log::warn!("{limit}");
                }
            }
            Drift::Plugin => {
                self.wanted.install_plugin(&self.host, &mut undo)?;
                log::info!("wrote {}", self.wanted.cni.plugin_path().display());
            }
            Drift::Conflist(path) => {
                // One attempt: more would be writes that the rhythm knows nothing of.
                self.wanted.install_conflists(1, &mut undo)?;
                self.next_reconcile = Instant::now();
                log::info!("put the entry into {}", path.display());
            }
        }
        Ok(())
    }

    fn reconcile(&mut self, now: Instant) {
        self.next_reconcile = now + self.reconcile_every;
        self.sweep(now);
        if let Err(e) = layouts::retire(&self.wanted.pins) {
            log::warn!("cannot retire another version's layout: {e:#}");
        }
        match reconcile::run(&self.wanted.pins, &self.wanted.cni, &self.sources, false) {
            Ok(report) => {
                for name in &report.registered {
                    log::info!("registered {name}, which was there before");
                }
                for name in &report.removed {
                    log::info!("removed {name}, which is gone");
                }
                for failure in &report.failed {
                    log::warn!("not registered: {failure}");
                }
                if let Some(existing) = &report.existing {
                    log::info!("existing connections: {}", existing.line());
                }
                let mut known = self.shared.lock();
                known.reconciled += report.registered.len() as u64;
                known.removed += report.removed.len() as u64;
                known.unregistered = report.failed.len() as u64;
            }
            Err(e) => log::warn!("cannot compare registered and live pods: {e:#}"),
        }
        if let Some(looks) = &mut self.looks
            && let Err(e) = looks.turn(&self.wanted, &self.sources)
        {
            log::warn!("connections that were open already stay on TCP: {e:#}");
        }
    }

    /// Takes out what handshakes left that were never completed.
    fn sweep(&mut self, now: Instant) {
        if now.duration_since(self.handshakes_looked) < HANDSHAKES_EVERY {
            return;
        }
        self.handshakes_looked = now;
        match self.handshakes.turn(&self.wanted.pins) {
            Ok(0) => {}
            Ok(rows) => log::debug!("took out {rows} rows of connections that never came to be"),
            Err(e) => log::warn!("cannot look for handshakes that were never completed: {e}"),
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

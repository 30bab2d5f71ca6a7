//! Registered pods against live ones, and what connections left that never came to be.

use std::mem::take;
use std::time::{Duration, Instant};

use super::Keeper;
use crate::node::layouts;
use crate::reconcile;

/// How soon pods that were registered without the runtime's call are looked at again: one that was
/// being deleted then calls nobody, where the list had no entry. The same after the entry was put in: a pod that
/// was being created then is noted by the runtime only at its end. And where they could not be compared.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Least time between two looks for handshakes that were never completed: far
/// above the longest one (`tcp_synack_retries`: 63 s).
const HANDSHAKES_EVERY: Duration = Duration::from_mins(3);

impl Keeper {
    /// Compares registered and live pods, at its time.
    pub(super) fn reconcile_if_due(&mut self, now: Instant) {
        if !self.programs_are_ours || self.next_reconcile > Instant::now() {
            return;
        }
        self.next_reconcile = now + self.reconcile_every;
        self.sweep(now);
        if let Err(e) = layouts::retire(&self.wanted.pins) {
            log::warn!("cannot retire another version's layout: {e:#}");
        }
        let (pins, cni) = (&self.wanted.pins, &self.wanted.cni);
        match reconcile::run_again(pins, cni, &self.sources, false, &mut self.memory) {
            Ok(report) => {
                let listed = take(&mut self.listed);
                if listed || report.young || !report.registered.is_empty() {
                    self.next_reconcile = now + self.reconcile_every.min(LOOK_AGAIN);
                }
                self.note_pods(&report);
                self.not_compared.clear();
            }
            Err(e) => {
                self.next_reconcile = now + self.reconcile_every.min(LOOK_AGAIN);
                let why = format!("{e:#}");
                if why != self.not_compared {
                    log::warn!("cannot compare registered and live pods: {why}");
                    self.not_compared = why;
                }
            }
        }
    }

    fn note_pods(&self, report: &reconcile::Report) {
        for name in &report.registered {
            log::info!("registered {name}, which was there before");
        }
        for line in &report.given_back {
            log::info!("gave back an address: {line}");
        }
        for line in &report.shared {
            log::warn!("{line}");
        }
        for name in &report.removed {
            log::info!("removed {name}, which is gone");
        }
        for failure in &report.failed {
            log::warn!("not registered: {failure}");
        }
        let mut known = self.shared.lock();
        known.reconciled += report.registered.len() as u64;
        known.removed += report.removed.len() as u64;
        known.unregistered = report.failed.len() as u64;
        known.in_doubt = report.in_doubt as u64;
        known.shared = report.shared.len() as u64;
        let well = report.failed.is_empty() && report.in_doubt == 0 && report.shared.is_empty();
        known.as_wanted.insert("pods", well);
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
}

//! When to look at the node and when to write: time goes in, decisions come out.

use std::time::{Duration, Instant};

use super::throttle::Throttle;

/// After a change others often make more: look once they have stopped for this long.
const SETTLE: Duration = Duration::from_millis(100);
/// A writer that never stops does not keep us from looking for longer than this.
const PATIENCE: Duration = Duration::from_millis(500);
/// Looks without an event, for changes that no event tells of.
const ROUTINE: Duration = Duration::from_secs(30);
/// Repairs that may follow each other at once.
const BURST: u32 = 4;
/// The pace of repairs after that: within the 2 s in which drift is to be repaired.
const PACE: Duration = Duration::from_millis(1_900);

/// The rhythm of one node.
#[derive(Clone, Debug)]
pub struct Rhythm {
    first_event: Option<Instant>,
    last_event: Option<Instant>,
    held_until: Option<Instant>,
    next_routine: Instant,
    throttle: Throttle,
}

impl Rhythm {
    /// Starts with a look at once.
    pub const fn new(now: Instant) -> Self {
        Self {
            first_event: None,
            last_event: None,
            held_until: None,
            next_routine: now,
            throttle: Throttle::new(BURST, PACE, now),
        }
    }

    /// Something changed.
    pub fn event(&mut self, now: Instant) {
        self.first_event.get_or_insert(now);
        self.last_event = Some(now);
    }

    /// When to look next.
    pub fn next_look(&self) -> Instant {
        let settled = match (self.first_event, self.last_event) {
            (Some(first), Some(last)) => (last + SETTLE).min(first + PATIENCE),
            _ => self.next_routine,
        };
        let due = settled.min(self.next_routine);
        self.held_until.unwrap_or(due)
    }

    /// A look begins: what happened before it is seen by it.
    pub fn looking(&mut self, now: Instant) {
        self.first_event = None;
        self.last_event = None;
        self.held_until = None;
        self.next_routine = now + ROUTINE;
    }

    /// Asks to repair what the look found. Where that would be too often, the
    /// next look comes when it no longer is.
    pub fn may_repair(&mut self, now: Instant) -> bool {
        match self.throttle.take(now) {
            Ok(()) => true,
            Err(wait) => {
                self.held_until = Some(now + wait);
                false
            }
        }
    }

    /// The repair did not work, or cannot be made yet: look again after a while.
    pub fn retry(&mut self, now: Instant, after: Duration) {
        self.next_routine = self.next_routine.min(now + after);
    }
}

#[cfg(test)]
mod tests;

//! What the keeper knows and the health and metrics pages show.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Sums and state of the keeper, for another thread to read.
#[derive(Debug)]
pub struct Shared {
    inner: Mutex<Known>,
}

/// The values.
#[derive(Clone, Debug)]
pub struct Known {
    /// Why the node is not ready; empty where it is.
    pub not_ready: Vec<String>,
    /// What a restart would mend, and nothing else; empty where there is nothing.
    pub sick: Option<String>,
    /// Whether each thing is as wanted.
    pub as_wanted: BTreeMap<&'static str, bool>,
    /// When the keeper last looked.
    pub last_look: Instant,
    /// Drift found, by kind.
    pub drift: BTreeMap<&'static str, u64>,
    /// Repairs made, by kind.
    pub repairs: BTreeMap<&'static str, u64>,
    /// Repairs that failed.
    pub failures: u64,
    /// Repairs put off because there were too many.
    pub throttled: u64,
    /// Pods registered by reconciliation.
    pub reconciled: u64,
    /// Stale pods removed by reconciliation.
    pub removed: u64,
    /// Pods that the last reconciliation could not register.
    pub unregistered: u64,
    /// Ends that were brought in late.
    pub joined_late: u64,
    /// Of those, ends that were opened to what others redirect.
    pub opened_late: u64,
    /// Ends that left the sockhash before they closed.
    pub left_late: u64,
    /// Why what comes in late is not redirected to, if so.
    pub late_blind: Option<String>,
    /// Pods that the tripwire switched off.
    pub trips: u64,
    /// Registered pods of which nothing can be seen.
    pub in_doubt: u64,
    /// Addresses that several pods have.
    pub shared: u64,
}

/// Twice the routine interval and some more: a keeper that has not looked for this long is stuck.
pub const STUCK: Duration = Duration::from_secs(90);

impl Shared {
    /// Not ready yet.
    pub fn new(now: Instant) -> Self {
        Self {
            inner: Mutex::new(Known {
                not_ready: vec!["starting".to_owned()],
                sick: None,
                as_wanted: BTreeMap::new(),
                last_look: now,
                drift: BTreeMap::new(),
                repairs: BTreeMap::new(),
                failures: 0,
                throttled: 0,
                reconciled: 0,
                removed: 0,
                unregistered: 0,
                joined_late: 0,
                opened_late: 0,
                left_late: 0,
                late_blind: None,
                trips: 0,
                in_doubt: 0,
                shared: 0,
            }),
        }
    }

    /// The values, to read or to change.
    pub fn lock(&self) -> MutexGuard<'_, Known> {
        // Every change is a plain assignment: a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

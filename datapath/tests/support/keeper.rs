//! Who brings ends in and lets them out: what `sockway run` does, step by step.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sockway_datapath::late::{Adopted, Done, Events, Late, SOON, Told};

use super::node::{Node, causes};

/// How long anything may take before it counts as a hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// The keeper of one node.
pub(crate) struct Keeper {
    late: Late,
    events: Events,
    /// What was done so far.
    pub(crate) done: Done,
}

impl Keeper {
    pub(crate) fn new(node: &Node) -> Self {
        let late = Late::open(&node.pins, PathBuf::from("/proc"));
        let late = late.unwrap_or_else(|e| panic!("open: {}", causes(&e)));
        assert_eq!(late.blind(), None, "the node's processes can be seen");
        let events = Events::open(&node.pins);
        let events = events.unwrap_or_else(|e| panic!("events: {}", causes(&e)));
        Self {
            late,
            events,
            done: Done::default(),
        }
    }

    /// Waits for an event; how long that took, and what was told.
    pub(crate) fn told(&mut self, patience: Duration) -> (Duration, Told) {
        let start = Instant::now();
        loop {
            let told = self.events.read();
            let left = patience.saturating_sub(start.elapsed());
            if told != Told::default() || left.is_zero() {
                return (start.elapsed(), told);
            }
            self.events.wait(left).expect("wait");
        }
    }

    fn count(&mut self, done: Done) -> Done {
        self.done.joined += done.joined;
        self.done.opened += done.opened;
        self.done.left += done.left;
        for (why, count) in &done.refused {
            *self.done.refused.entry(why).or_default() += count;
        }
        done
    }

    /// Does what was told.
    pub(crate) fn turn(&mut self) -> Done {
        let told = self.events.read();
        self.act(&told)
    }

    pub(crate) fn act(&mut self, told: &Told) -> Done {
        let done = self.late.turn(told, &own_namespace);
        let done = done.unwrap_or_else(|e| panic!("turn: {}", causes(&e)));
        self.count(done)
    }

    /// Looks at every end.
    pub(crate) fn pass(&mut self) -> Done {
        let done = self.late.pass(&own_namespace);
        let done = done.unwrap_or_else(|e| panic!("pass: {}", causes(&e)));
        self.count(done)
    }

    /// Finds connections that are older than the programs.
    pub(crate) fn adopt(&mut self) -> Adopted {
        let adopted = self.late.adopt(&own_namespace);
        adopted.unwrap_or_else(|e| panic!("adopt: {}", causes(&e)))
    }

    /// Takes out the rows of those that have ended.
    pub(crate) fn forget(&mut self) -> usize {
        let ended = self.late.forget(&own_namespace);
        ended.unwrap_or_else(|e| panic!("forget: {}", causes(&e)))
    }

    /// Turns until nobody is waited for, or patience ends.
    pub(crate) fn settle(&mut self, patience: Duration) {
        let start = Instant::now();
        loop {
            self.turn();
            if !self.late.waits() || start.elapsed() > patience {
                return;
            }
            std::thread::sleep(SOON);
        }
    }

    /// Looks at every end, and turns until something holds.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&Done) -> bool) {
        let start = Instant::now();
        self.pass();
        while !holds(&self.done) {
            assert!(
                start.elapsed() < PATIENCE,
                "hang: waited for {what}: {:?}",
                self.done
            );
            std::thread::sleep(SOON);
            self.turn();
        }
    }

    /// Finds what is older, brings in what may come in, and opens it.
    pub(crate) fn bring_in(&mut self) -> Adopted {
        let adopted = self.adopt();
        self.pass();
        self.settle(PATIENCE);
        adopted
    }
}

/// The namespace of the test, where every socket is.
fn own_namespace(_wanted: &std::collections::HashSet<u64>) -> Vec<File> {
    let file = File::open("/proc/thread-self/ns/net");
    vec![file.expect("open the own namespace")]
}

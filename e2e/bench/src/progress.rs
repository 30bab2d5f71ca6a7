//! What a person sees meanwhile: on standard error, with the time that is left.

use std::time::{Duration, Instant};

/// Counts steps.
pub(crate) struct Progress {
    started: Instant,
    begun: Option<Instant>,
    done: u32,
    all: u32,
}

impl Progress {
    /// Begins.
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            begun: None,
            done: 0,
            all: 0,
        }
    }

    /// Measurements begin: so many.
    pub(crate) fn expect(&mut self, all: u32) {
        self.begun = Some(Instant::now());
        self.all = all;
    }

    /// Something that is no measurement.
    pub(crate) fn step(&self, what: &str) {
        eprintln!("[{:6.1} s] {what}", self.started.elapsed().as_secs_f64());
    }

    /// One measurement is done.
    pub(crate) fn done(&mut self, what: &str) {
        self.done += 1;
        let left = self.begun.map_or(Duration::ZERO, |begun| {
            begun.elapsed() / self.done * self.all.saturating_sub(self.done)
        });
        eprintln!(
            "[{:6.1} s] {:>4}/{} {what}; {} s left",
            self.started.elapsed().as_secs_f64(),
            self.done,
            self.all,
            left.as_secs()
        );
    }
}

//! What a person sees while it works: on standard error, so that results stay apart.

use std::time::Instant;

/// Columns that the time takes.
const INDENT: usize = 11;

/// Progress lines with the time since the start.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    started: Instant,
    indent: usize,
}

impl Progress {
    /// From now on.
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            indent: INDENT,
        }
    }

    /// A step begins.
    pub(crate) fn step(&self, what: &str) {
        eprintln!("[{:6.1} s] {what}", self.started.elapsed().as_secs_f64());
    }

    /// What came of it.
    pub(crate) fn note(&self, what: &str) {
        let Self { started: _, indent } = self;
        eprintln!("{:indent$}{what}", "");
    }

    /// The words of another program.
    pub(crate) fn quote(&self, text: &str) {
        for line in text.lines() {
            self.note(&format!("| {line}"));
        }
    }
}

//! Cases: what passed, what failed, and how long it took.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};

/// Counts the cases and shows each as it ends.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: usize,
    failed: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Runs a case.
    pub(crate) fn case(&mut self, name: &str, case: impl FnOnce() -> Result<()>) {
        let started = Instant::now();
        let result = case();
        let took = started.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("ok    {took:>6.2} s  {name}");
            }
            Err(error) => {
                println!("FAIL  {took:>6.2} s  {name}: {error:#}");
                self.failed.push(name.to_owned());
            }
        }
    }

    /// Runs a case that leaves nothing, by `left`; where it fails, `purge` takes away what it left.
    pub(crate) fn clean_case(
        &mut self,
        name: &str,
        case: impl FnOnce() -> Result<()>,
        left: impl FnOnce() -> Result<()>,
        purge: impl FnOnce() -> Result<()>,
    ) {
        self.case(name, || {
            let result = case().and_then(|()| left().context("in the end"));
            if result.is_err() {
                purge()?;
            }
            result
        });
    }

    /// Prints the counts; success if there were cases and none failed.
    pub(crate) fn finish(&self) -> ExitCode {
        for name in &self.failed {
            println!("failed: {name}");
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
        if self.passed > 0 && self.failed.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

//! Test rings: a heading, a count, a time, and the table at the end.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::interrupt;

/// How many checks passed and failed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
}

impl Count {
    /// One check more.
    pub fn add(&mut self, result: &Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(_) => self.failed += 1,
        }
    }

    /// Another count more.
    pub fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// One ring and how it ended.
#[derive(Debug)]
pub struct Ring {
    name: &'static str,
    count: Count,
    took: Duration,
}

impl Ring {
    /// Runs a ring under its heading. An error of the ring itself is a failed check.
    pub fn run(name: &'static str, body: impl FnOnce(&mut Count) -> Result<()>) -> Self {
        println!("\n=== {name}");
        let started = Instant::now();
        let mut count = Count::default();
        let result = interrupt::survive().and_then(|()| {
            if interrupt::came() {
                bail!("not run: interrupted");
            }
            body(&mut count)?;
            if count == Count::default() {
                bail!("nothing was checked");
            }
            Ok(())
        });
        if let Err(error) = result {
            println!("{name}: {error:#}");
            count.failed = count.failed.max(1);
        }
        let ring = Self {
            name,
            count,
            took: started.elapsed(),
        };
        println!("=== {name}: {count}, {:.1} s", ring.took.as_secs_f64());
        ring
    }

    /// Prints the table and the line that says it all.
    ///
    /// # Errors
    /// When a check failed.
    pub fn finish(rings: &[Self]) -> Result<()> {
        let mut total = Count::default();
        println!("\n=== summary");
        for Self { name, count, took } in rings {
            let seconds = took.as_secs_f64();
            println!(
                "{name:<12} {seconds:>7.1} s  {:>5} passed {:>5} failed",
                count.passed, count.failed
            );
            total.merge(*count);
        }
        println!("{total}");
        if total.failed > 0 {
            bail!(
                "{} of {} checks failed",
                total.failed,
                total.failed + total.passed
            );
        }
        Ok(())
    }
}

/// Runs a program whose result lines say how many tests passed, shows its
/// output as it comes, and counts.
///
/// # Errors
/// When it cannot be started, or fails although no test of it did.
pub fn count_tests(
    command: &mut Command,
    count: &mut Count,
    parse: fn(&str) -> Option<Count>,
) -> Result<()> {
    let program = command.get_program().display().to_string();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let running = interrupt::Running::new(&child);
    let stdout = child.stdout.take().context("a piped stdout is there")?;
    let mut here = Count::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(|| format!("cannot read the output of {program}"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(counted) = parse(&line) {
            here.merge(counted);
        }
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for {program}"))?;
    drop(running);
    count.merge(here);
    if interrupt::came() {
        bail!("interrupted");
    }
    if !status.success() && here.failed == 0 {
        bail!("{program} failed, though none of its tests did ({status})");
    }
    Ok(())
}

/// A result line of cargo's test harness.
pub fn harness_line(line: &str) -> Option<Count> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut parts = counts.split("; ");
    let passed = parts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = parts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some(Count { passed, failed })
}

/// A line that reads `N passed, N failed`.
pub fn total_line(line: &str) -> Option<Count> {
    let (passed, failed) = line.trim().split_once(" passed, ")?;
    let failed = failed.strip_suffix(" failed")?;
    Some(Count {
        passed: passed.parse().ok()?,
        failed: failed.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_harness() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 1 filtered out";
        assert_eq!(
            harness_line(line),
            Some(Count {
                passed: 12,
                failed: 3
            })
        );
        assert_eq!(harness_line("test a::b ... ok"), None);
    }

    #[test]
    fn reads_a_total() {
        assert_eq!(
            total_line("9 passed, 1 failed"),
            Some(Count {
                passed: 9,
                failed: 1
            })
        );
        assert_eq!(total_line("all 9 passed, 1 failed"), None);
    }

    #[test]
    fn a_ring_that_checks_nothing_fails() {
        let ring = Ring::run("empty", |count| {
            count_tests(&mut Command::new("true"), count, total_line)
        });
        assert_eq!(
            ring.count,
            Count {
                passed: 0,
                failed: 1
            }
        );
    }

    #[test]
    fn a_program_that_fails_without_a_failed_test_is_an_error() {
        let mut count = Count::default();
        let result = count_tests(&mut Command::new("false"), &mut count, total_line);
        assert!(result.is_err());
    }

    #[test]
    fn a_broken_ring_is_a_failure() {
        let ring = Ring::run("broken", |_| bail!("it broke"));
        assert_eq!(
            ring.count,
            Count {
                passed: 0,
                failed: 1
            }
        );
        assert!(Ring::finish(&[ring]).is_err());
    }
}

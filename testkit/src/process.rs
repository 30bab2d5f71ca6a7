//! A process that runs while a pod lives.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::place::Place;
use crate::stop;

/// The line by which a server says that it listens.
pub const READY: &str = "ready";
/// How long a process may take to end once asked.
const GRACE: Duration = Duration::from_secs(3);
/// How long a server may take until it says that it listens.
const START: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(5);
/// Lines of a log shown in errors.
const TAIL: usize = 15;

/// A running process; ended on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program; output goes to `<logs>/<name>.log`.
    pub fn start(
        name: &str,
        logs: &Path,
        place: &Place,
        program: &Path,
        args: &[String],
    ) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let error = out.try_clone().context("dup")?;
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(error);
        place.prepare(&mut command)?;
        let child = command
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written.
    pub fn output(&self) -> Result<String> {
        fs::read_to_string(&self.log).with_context(|| format!("read {}", self.log.display()))
    }

    /// Waits until it prints [`READY`].
    pub fn wait_ready(&mut self) -> Result<()> {
        self.wait_ready_within(START)
    }

    /// The same where it may take longer.
    pub fn wait_ready_within(&mut self, limit: Duration) -> Result<()> {
        self.wait_within(limit, "is ready", |process| {
            Ok(process.output()?.lines().any(|line| line == READY))
        })
    }

    /// Waits until something holds; an error where it ends before.
    pub fn wait_for(&mut self, what: &str, holds: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        self.wait_within(START, what, holds)
    }

    /// The same where it may take longer than most.
    pub fn wait_within(
        &mut self,
        limit: Duration,
        what: &str,
        holds: impl Fn(&Self) -> Result<bool>,
    ) -> Result<()> {
        let started = Instant::now();
        while !holds(self)? {
            stop::check()?;
            if let Some(status) = self.child.try_wait().context("waitpid")? {
                bail!(
                    "{} ended before it {what}: {status}\n{}",
                    self.name,
                    self.tail()
                );
            }
            if started.elapsed() > limit {
                bail!(
                    "{} not so far that it {what} in {} s\n{}",
                    self.name,
                    limit.as_secs(),
                    self.tail()
                );
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// An error where it has ended.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait().context("waitpid")? {
            Some(status) => bail!("{} has ended: {status}\n{}", self.name, self.tail()),
            None => Ok(()),
        }
    }

    /// Waits for its end and returns what it wrote; an error where its exit code is not 0.
    pub fn finish(mut self, limit: Duration) -> Result<String> {
        let status = self.wait(limit)?;
        if status.is_none_or(|status| !status.success()) {
            bail!("{}: {}", self.name, self.tail());
        }
        self.output()
    }

    /// Waits for its end and returns what it wrote, whatever its exit code.
    pub fn ended(mut self, limit: Duration) -> Result<String> {
        self.wait(limit)?;
        self.output()
    }

    /// Ends it at once, in the middle of whatever it does.
    pub fn kill(mut self) -> Result<()> {
        self.signal(Signal::SIGKILL);
        self.child.wait().context("waitpid")?;
        Ok(())
    }

    /// Asks it to end and returns what it wrote, whatever its exit code.
    pub fn end(mut self, limit: Duration) -> Result<String> {
        self.signal(Signal::SIGTERM);
        self.wait(limit)?;
        self.output()
    }

    /// Waits; `None` where a signal ended it.
    fn wait(&mut self, limit: Duration) -> Result<Option<std::process::ExitStatus>> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().context("waitpid")? {
                return Ok(status.code().map(|_| status));
            }
            stop::check()?;
            if started.elapsed() > limit {
                bail!(
                    "{}: still running after {} s\n{}",
                    self.name,
                    limit.as_secs(),
                    self.tail()
                );
            }
            thread::sleep(TICK);
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            // Gone already is what a signal would have led to.
            let _ = kill(Pid::from_raw(id), signal);
        }
    }

    fn tail(&self) -> String {
        let text = self.output().unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal(Signal::SIGTERM);
        let started = Instant::now();
        while started.elapsed() < GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(TICK);
        }
        self.signal(Signal::SIGKILL);
        drop(self.child.wait());
    }
}

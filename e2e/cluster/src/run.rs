//! Running a command to its end: bounded in time, with its words in the error.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

const TICK: Duration = Duration::from_millis(10);

/// A command.
pub(crate) struct Run {
    command: Command,
    shown: String,
    limit: Duration,
    input: Option<String>,
}

/// How it ended.
pub(crate) struct Ended {
    /// Exit code 0.
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// A command that is shown under that name.
    pub(crate) fn of(command: Command, shown: String) -> Self {
        Self {
            command,
            shown,
            limit: Duration::from_mins(2),
            input: None,
        }
    }

    /// A program of the machine.
    pub(crate) fn new(program: &str) -> Self {
        Self::of(Command::new(program), program.to_owned())
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown = format!("{} {}", self.shown, arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// Waits for its end, whatever that is.
    pub(crate) fn ended(mut self) -> Result<Ended> {
        self.command
            .stdin(if self.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self
            .command
            .spawn()
            .with_context(|| format!("cannot start {}", self.shown))?;
        if let (Some(text), Some(mut stdin)) = (self.input.take(), child.stdin.take()) {
            thread::spawn(move || stdin.write_all(text.as_bytes()));
        }
        let (out, err) = (
            collect(child.stdout.take().context("no pipe")?),
            collect(child.stderr.take().context("no pipe")?),
        );
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().context("cannot wait")? {
                break status;
            }
            if started.elapsed() > self.limit {
                let _ = child.kill();
                let _ = child.wait();
                bail!("{} did not end in {} s", self.shown, self.limit.as_secs());
            }
            thread::sleep(TICK);
        };
        let text = |thread: JoinHandle<String>| thread.join().unwrap_or_default();
        Ok(Ended {
            success: status.success(),
            stdout: text(out),
            stderr: text(err),
        })
    }

    /// Its standard output; an error where it did not succeed.
    pub(crate) fn output(self) -> Result<String> {
        let shown = self.shown.clone();
        let ended = self.ended()?;
        if !ended.success {
            let words = format!("{}{}", ended.stderr, ended.stdout);
            bail!("{shown} failed: {}", words.trim());
        }
        Ok(ended.stdout)
    }

    /// Succeeds, or is an error.
    pub(crate) fn done(self) -> Result<()> {
        self.output().map(drop)
    }
}

/// Reads to the end, beside whatever else is read.
fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is what there is to show.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// An error after which asking again is of no use.
#[derive(Debug)]
pub(crate) struct Hopeless(pub(crate) String);

impl std::fmt::Display for Hopeless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Hopeless {}

/// Asks again and again until there is an answer; the last refusal is the error.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if error.is::<Hopeless>() => return Err(error).context(what.to_owned()),
            Err(error) if started.elapsed() > limit => {
                return Err(error)
                    .with_context(|| format!("{what}: not within {} s", limit.as_secs()));
            }
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}

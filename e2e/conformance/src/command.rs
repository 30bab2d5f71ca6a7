//! Running a program to its end: bounded in time, with its words in the error.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a program may take unless said otherwise.
const LIMIT: Duration = Duration::from_mins(1);
const TICK: Duration = Duration::from_millis(1);

/// A program to be run.
#[derive(Debug)]
pub(crate) struct Run {
    command: Command,
    stdin: Vec<u8>,
    limit: Duration,
    shown: String,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code; `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// A program by name or path.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let shown = program.to_string_lossy().into_owned();
        Self {
            command: Command::new(program),
            stdin: Vec::new(),
            limit: LIMIT,
            shown,
        }
    }

    /// One more argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown = format!("{} {}", self.shown, arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// More arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// A variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// No variables but those that follow.
    pub(crate) fn bare(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// What it reads.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Another limit.
    pub(crate) const fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it, whatever its exit code.
    pub(crate) fn ended(self) -> Result<Ended> {
        let Self {
            mut command,
            stdin,
            limit,
            shown,
        } = self;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start {shown}"))?;
        let mut pipe = child.stdin.take();
        // A program that does not read all of it breaks the pipe: its right.
        let feed = thread::spawn(move || pipe.as_mut().map(|pipe| pipe.write_all(&stdin)));
        let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().context("wait")? {
                break status;
            }
            if started.elapsed() > limit {
                child.kill().context("kill")?;
                child.wait().context("wait")?;
                bail!("{shown}: still running after {} s", limit.as_secs());
            }
            thread::sleep(TICK);
        };
        drop(feed.join());
        let text = |thread: JoinHandle<String>| thread.join().unwrap_or_default();
        Ok(Ended {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
        })
    }

    /// Runs it; its standard output, or an error where its exit code is not 0.
    pub(crate) fn output(self) -> Result<String> {
        let shown = self.shown.clone();
        let Ended {
            code,
            stdout,
            stderr,
        } = self.ended()?;
        if code == Some(0) {
            return Ok(stdout);
        }
        let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        bail!("{shown}: {code}: {} {}", stdout.trim(), stderr.trim())
    }

    /// Runs it; an error where its exit code is not 0.
    pub(crate) fn done(self) -> Result<()> {
        self.output().map(drop)
    }
}

/// `ip` with these arguments, separated by spaces.
pub(crate) fn ip(args: &str) -> Result<()> {
    Run::new("ip").args(args.split(' ')).done()
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came until then is still worth showing.
            drop(pipe.read_to_end(&mut bytes));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

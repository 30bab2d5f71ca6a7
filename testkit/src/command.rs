//! Running a command to its end: bounded in time, with its words in the error.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::place::Place;

/// How long a command may take, unless it is said otherwise.
const LIMIT: Duration = Duration::from_mins(1);
const TICK: Duration = Duration::from_millis(2);

/// A command.
pub struct Run {
    command: Command,
    shown: String,
    limit: Duration,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// Of a program by name or path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self {
            command,
            shown: program.to_string_lossy().into_owned(),
            limit: LIMIT,
        }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown = format!("{} {}", self.shown, arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// A variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// With no variables but those that follow.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// Without this program's variables of a prefix.
    #[must_use]
    pub fn without_env(mut self, prefix: &str) -> Self {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(prefix) {
                self.command.env_remove(name);
            }
        }
        self
    }

    /// With this as its standard input.
    #[must_use]
    pub fn stdin(mut self, file: File) -> Self {
        self.command.stdin(file);
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Somewhere else than here.
    pub fn at(mut self, place: &Place) -> Result<Self> {
        place.prepare(&mut self.command)?;
        Ok(self)
    }

    /// Runs it, whatever its exit code.
    pub fn ended(mut self) -> Result<Ended> {
        let (shown, limit) = (self.shown, self.limit);
        let mut child = self
            .command
            .spawn()
            .with_context(|| format!("start {shown}"))?;
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        let started = Instant::now();
        // Not ended by a signal to us: what it does is to be undone in order.
        let status = loop {
            if let Some(status) = child.try_wait().context("waitpid")? {
                break status;
            }
            if started.elapsed() > limit {
                child.kill().context("kill")?;
                child.wait().context("waitpid")?;
                bail!("{shown}: still running after {} s", limit.as_secs());
            }
            thread::sleep(TICK);
        };
        let text = |thread: thread::JoinHandle<String>| thread.join().unwrap_or_default();
        Ok(Ended {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
        })
    }

    /// Starts it and kills it after some time, in the middle of whatever it does then.
    pub fn killed_after(mut self, time: Duration) -> Result<()> {
        let shown = self.shown;
        let mut child = self
            .command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {shown}"))?;
        thread::sleep(time);
        child.kill().context("kill")?;
        child.wait().context("waitpid")?;
        Ok(())
    }

    /// Runs it; its standard output, or an error where its exit code is not 0.
    pub fn output(self) -> Result<String> {
        let shown = self.shown.clone();
        let Ended {
            code,
            stdout,
            stderr,
        } = self.ended()?;
        if code == Some(0) {
            return Ok(stdout);
        }
        let words = if stderr.trim().is_empty() {
            stdout
        } else {
            stderr
        };
        let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        bail!("{shown}: {code}: {}", words.trim())
    }

    /// Runs it; an error where its exit code is not 0.
    pub fn done(self) -> Result<()> {
        self.output().map(drop)
    }
}

/// `ip` with these arguments, separated by spaces.
pub fn ip(args: &str) -> Result<()> {
    Run::new("ip").args(args.split(' ')).done()
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came until then is still worth showing.
            drop(pipe.read_to_end(&mut bytes));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

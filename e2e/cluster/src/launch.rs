//! The node's services: started in the background, stopped, killed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::space::Space;

const PATIENCE: Duration = Duration::from_secs(30);
/// Lines of a log that an error shows.
const TAIL: usize = 8;

/// Starts a program of the node that goes on when we end.
pub(crate) fn start<S: AsRef<OsStr>>(
    space: &Space,
    name: &str,
    program: &Path,
    args: impl IntoIterator<Item = S>,
) -> Result<()> {
    let log = space.place().log(name);
    let parent = log.parent().context("a log's directory")?;
    fs::create_dir_all(parent).context("cannot create the directory of logs")?;
    let log = File::options().create(true).append(true).open(&log);
    let log = log.context("cannot open a log")?;
    let child = space
        .command(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("dup")?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    space
        .place()
        .write(&format!("pid/{name}"), &child.id().to_string())
        .map(drop)
}

/// Stops it as a service manager does.
pub(crate) fn stop(space: &Space, name: &str) -> Result<()> {
    let text = fs::read_to_string(space.place().path(&format!("pid/{name}")))
        .with_context(|| format!("{name} was never started"))?;
    let pid: i32 = text.trim().parse().context("a process id")?;
    kill(Pid::from_raw(pid), Signal::SIGTERM).with_context(|| format!("cannot end {name}"))?;
    let started = Instant::now();
    while lives(pid) {
        if started.elapsed() > PATIENCE {
            bail!("{name} does not end: {}", tail(space, name));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn lives(pid: i32) -> bool {
    // Where it is our child: one that has ended stays until it is asked for.
    let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .starts_with(" Z")
    })
}

/// Whether it runs.
pub(crate) fn running(space: &Space, name: &str) -> bool {
    fs::read_to_string(space.place().path(&format!("pid/{name}")))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .is_some_and(lives)
}

/// The end of its log.
pub(crate) fn tail(space: &Space, name: &str) -> String {
    let log = fs::read_to_string(space.place().log(name)).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

//! The peak of a call's resident memory.
//!
//! `wait4` cannot tell it: a process starts with the peak of the one that
//! started it. So the plugin is held where it writes its answer, which is the
//! last thing it does, by a pipe that is full; there the kernel's own
//! high-water mark is read.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use crate::invoke::Invocation;

/// A page: the smallest pipe there is, bytes.
const PIPE: usize = 4096;
/// Longer than any of the plugins takes.
const SETTLED: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(10);

/// Peak of resident memory of an ADD, KiB; a DEL follows.
pub(super) fn peak(invocation: &Invocation) -> Result<u64> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).context("make a pipe")?;
    let size = i32::try_from(PIPE).context("a size")?;
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(size)).context("shrink the pipe")?;
    let mut full = File::from(writer.try_clone().context("dup")?);
    full.write_all(&[0; PIPE]).context("fill the pipe")?;
    drop(full);
    let mut command = invocation.command("ADD", Stdio::from(writer))?;
    let mut child = command.spawn().context("start the plugin")?;
    // Or the pipe would never end.
    drop(command);
    let peak = settled(child.id());
    let mut answer = Vec::new();
    File::from(reader)
        .read_to_end(&mut answer)
        .context("read the answer")?;
    invocation.expect_success("ADD", child.wait().context("wait for the plugin")?)?;
    if answer.len() <= PIPE {
        bail!("{} answered nothing", invocation.program.display());
    }
    invocation.run("DEL")?;
    peak
}

/// The mark once it has not moved for a while.
fn settled(pid: u32) -> Result<u64> {
    let started = Instant::now();
    let (mut mark, mut since) = (0, Instant::now());
    while since.elapsed() < SETTLED {
        let now = high_water(pid)?;
        if now != mark {
            (mark, since) = (now, Instant::now());
        }
        if started.elapsed() > PATIENCE {
            bail!("the memory of process {pid} does not settle");
        }
        thread::sleep(TICK);
    }
    Ok(mark)
}

/// `VmHWM`, KiB.
fn high_water(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read its status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok())
        .with_context(|| format!("process {pid} has ended before its answer was read"))
}

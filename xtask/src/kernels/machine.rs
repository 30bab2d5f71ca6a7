//! One guest: qemu, its console, and its end, whatever the guest does.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::console::{Console, Event};
use super::{Kernel, fetched, image, qemu};
use crate::interrupt;

/// Panics end qemu (`-no-reboot`), and everything that is no way to go on is a panic. A busy
/// machine makes a guest's clock stand still for seconds: its own test of the timer fails then,
/// and a processor seems stuck.
const COMMAND_LINE: &str =
    "quiet panic=-1 oops=panic softlockup_panic=1 watchdog_thresh=60 no_timer_check";
/// How often we look for an interruption.
const TICK: Duration = Duration::from_millis(200);
/// How long the words of a panic may take to come in full.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What guests are given.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Checks to run, some of [`super::CHECKS`].
    pub checks: Vec<String>,
    /// How many times slower than usual a guest may be.
    pub pace: u32,
    /// Runs of the semantics suite at a time.
    pub jobs: u32,
    /// Words in the names of the integrity suite's cases.
    pub integrity: Vec<String>,
    /// Words in the names of the other suites' tests; all where there is none.
    pub tests: Vec<String>,
    /// After which a guest is ended.
    pub limit: Duration,
}

impl Plan {
    /// As `init.sh` reads it.
    fn settings(&self, kernel: &Kernel) -> String {
        let Self {
            checks,
            pace,
            jobs,
            integrity,
            tests,
            limit: _,
        } = self;
        format!(
            "CHECKS='{}'\nPACE={pace}\nJOBS={jobs}\nINTEGRITY='{}'\nTESTS='{}'\nLACKS='{}'\n",
            checks.join(" "),
            integrity.join(" "),
            tests.join(" "),
            kernel.lacks()
        )
    }
}

/// qemu; ended when dropped.
struct Guest {
    child: Child,
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Boots a kernel with the archive of [`image::build`] and hears it out.
///
/// The whole console goes to `NAME.log` in `directory`.
///
/// # Errors
/// When qemu cannot be started or the console cannot be kept. What goes wrong in the
/// guest is in the [`Console`].
pub fn boot(kernel: &Kernel, root: &Path, plan: &Plan, directory: &Path) -> Result<Console> {
    let own = image::of_kernel(kernel, &plan.settings(kernel), directory)?;
    let archive = join(
        root,
        &own,
        &directory.join(format!("{}.initrd", kernel.name)),
    )?;
    let log = directory.join(format!("{}.log", kernel.name));
    let mut log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = qemu::command(kernel);
    command
        .arg("-kernel")
        .arg(kernel.directory.join("vmlinuz"))
        .arg("-initrd")
        .arg(&archive)
        .arg("-append")
        .arg(format!(
            "console={} {COMMAND_LINE}",
            qemu::console(kernel.arch)
        ))
        .args([
            "-nodefaults",
            "-nographic",
            "-no-reboot",
            "-serial",
            "stdio",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let child = command.spawn().with_context(|| {
        let (_, setup) = fetched(kernel.arch);
        format!("cannot start {}: run {setup}", qemu::program(kernel.arch))
    })?;
    let mut guest = Guest { child };
    let lines = lines(&mut guest.child)?;
    let mut console = Console::default();
    let why = hear(&lines, &mut console, plan.limit, |line, event| {
        writeln!(log, "{line}").context("cannot keep the console")?;
        progress(&kernel.name, event);
        Ok(())
    })?;
    console.close(&plan.checks, &why);
    Ok(console)
}

/// One archive of two: the kernel unpacks them one after the other.
fn join(first: &Path, second: &Path, to: &Path) -> Result<PathBuf> {
    let mut out = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    for part in [first, second] {
        let mut part =
            File::open(part).with_context(|| format!("cannot read {}", part.display()))?;
        std::io::copy(&mut part, &mut out)
            .with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(to.to_owned())
}

fn lines(child: &mut Child) -> Result<Receiver<String>> {
    let stdout = child.stdout.take().context("a piped stdout is there")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Listens until the guest is through, in trouble, gone or late; why it was not through.
fn hear(
    lines: &Receiver<String>,
    console: &mut Console,
    limit: Duration,
    mut each: impl FnMut(&str, &Event) -> Result<()>,
) -> Result<String> {
    let mut until = Instant::now() + limit;
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                let event = console.line(&line);
                each(&line, &event)?;
                match event {
                    Event::Done => return Ok(String::new()),
                    Event::Trouble => until = until.min(Instant::now() + LAST_WORDS),
                    _ => {}
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok("the guest ended early".to_owned()),
        }
        if interrupt::came() {
            return Ok("interrupted".to_owned());
        }
        if Instant::now() > until {
            return Ok(format!("not through after {} s", limit.as_secs()));
        }
    }
}

fn progress(kernel: &str, event: &Event) {
    match event {
        Event::Begin(check) => eprintln!("[{kernel}] {check} ..."),
        Event::End(check) => {
            let seconds = check.seconds.unwrap_or_default();
            eprintln!("[{kernel}] {}: {}, {seconds} s", check.name, check.count);
            for failure in &check.failures {
                eprintln!("[{kernel}] {}: FAILED: {failure}", check.name);
            }
        }
        Event::Trouble | Event::Done | Event::Other => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;

    fn heard(said: &[&str], keep_open: bool, limit: Duration) -> (Console, String) {
        let (sender, receiver) = mpsc::channel();
        for line in said {
            sender.send((*line).to_owned()).unwrap();
        }
        let open = keep_open.then_some(sender);
        let mut console = Console::default();
        let why = hear(&receiver, &mut console, limit, |_, _| Ok(())).unwrap();
        drop(open);
        (console, why)
    }

    #[test]
    fn a_guest_that_is_through_is_not_waited_for() {
        let long = Duration::from_hours(1);
        let (console, why) = heard(&["@@ begin load", "@@ end load 0 1", "@@ done"], true, long);
        assert!(console.done && why.is_empty());
    }

    #[test]
    fn a_guest_that_ends_early_is_told_from_a_late_one() {
        let (console, why) = heard(&["@@ begin load"], false, Duration::from_hours(1));
        assert!(!console.done && why.contains("early"), "{why}");
        let (_, why) = heard(&["@@ begin load"], true, Duration::ZERO);
        assert!(why.contains("not through"), "{why}");
    }

    #[test]
    fn guests_read_their_settings_as_shell() {
        let plan = Plan {
            checks: vec!["load".into(), "semantics".into()],
            pace: 4,
            jobs: 8,
            integrity: vec!["a/b".into()],
            tests: vec!["late".into()],
            limit: Duration::ZERO,
        };
        let kernel = Kernel {
            name: "6.1".into(),
            arch: Arch::Arm64,
            directory: PathBuf::new(),
        };
        let expected = "CHECKS='load semantics'\nPACE=4\nJOBS=8\nINTEGRITY='a/b'\nTESTS='late'\nLACKS='edge-triggered'\n";
        assert_eq!(plan.settings(&kernel), expected);
    }
}

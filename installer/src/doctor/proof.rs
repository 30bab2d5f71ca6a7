//! What the proof says, and running it: in processes of its own, which take all
//! they made with them when they end, however they end.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use sockway_common::counters::{Reason, Stats};
use sockway_datapath::kernel::{self, Found, Functions};

use super::{Finding, Verdict, scene};
use crate::exit::chain;
use crate::sys::cgroup::Choice;

/// It takes about a second; who takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// What was tried and how it went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// In order; one that failed is the last.
    pub steps: Vec<Finding>,
    /// What the programs counted.
    pub figures: Figures,
    /// Rules that work with less on this kernel, one line each.
    pub limits: Vec<String>,
    /// Every kernel field that the programs read, with its offset in bytes; null where the kernel lacks it.
    pub offsets: Vec<(String, Option<u32>)>,
    /// Every kernel function that programs are attached to, with its id in the BTF; null where the kernel lacks it.
    pub functions: Vec<(String, Option<u32>)>,
    /// Whether it can be seen how applications read.
    pub reads_seen: bool,
    /// Whether it can be seen who reads until `EAGAIN`.
    pub ends_seen: bool,
    /// Whether the kernel takes the fentry programs.
    pub guarded: bool,
    /// Whether the kernel answers `FIONREAD` rightly for a socket in a sockhash; null where that was not measured.
    pub fionread_right: Option<bool>,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

/// What the programs counted during the proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Connections of which both ends were joined.
    pub joined: u64,
    /// Messages that were redirected.
    pub redirected_messages: u64,
    /// Bytes that were redirected.
    pub redirected_bytes: u64,
    /// Messages that went by TCP because their reader was behind.
    pub backlog_messages: u64,
    /// Times that a direction came back from TCP.
    pub resumed: u64,
    /// Bytes that a sender got rid of whose peer did not read.
    pub parked_bytes: u64,
}

impl Figures {
    /// From the programs' sums; nothing parked.
    pub fn of(stats: &Stats) -> Self {
        Self {
            joined: stats.paired.iter().sum(),
            redirected_messages: stats.redirected_messages.iter().sum(),
            redirected_bytes: stats.redirected_bytes.iter().sum(),
            backlog_messages: stats.tcp_messages[Reason::Backlog as usize],
            resumed: stats.resumed,
            parked_bytes: 0,
        }
    }
}

/// What later steps need not find out again.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// What is used of the kernel's BTF, which need not be read again.
    pub found: Found,
    /// Whether the kernel takes the fentry programs.
    pub guards: bool,
}

impl Proof {
    /// The worst of its steps, and of its limits.
    pub fn verdict(&self) -> Verdict {
        let limits = (!self.limits.is_empty()).then_some(Verdict::Limited);
        let steps = self.steps.iter().map(|step| step.verdict);
        // Not even the first step is no proof.
        let none = self.steps.is_empty().then_some(Verdict::Failed);
        steps
            .chain(limits)
            .chain(none)
            .max()
            .unwrap_or(Verdict::Failed)
    }

    /// The step that failed.
    pub fn failure(&self) -> Option<&Finding> {
        self.steps
            .iter()
            .find(|step| step.verdict == Verdict::Failed)
    }

    /// What it found out about the kernel; `None` where it did not get that far.
    pub fn known(&self) -> Option<Known> {
        (!self.offsets.is_empty()).then(|| Known {
            found: Found {
                offsets: kernel::from_table(&self.offsets),
                functions: Functions::from_table(&self.functions),
            },
            guards: self.guarded,
        })
    }

    /// A proof that could not be tried.
    fn not_tried(error: &anyhow::Error) -> Self {
        let step = Finding::new("scene", Verdict::Failed, chain(error))
            .note("nothing is known of how Sockway would work on this kernel");
        Self {
            steps: vec![step],
            ..Self::default()
        }
    }
}

/// Runs the proof; what keeps it from running is a failed step too.
pub fn prove(cgroup: &Choice, backlog_limit: u32) -> Proof {
    run(cgroup, backlog_limit).unwrap_or_else(|e| Proof::not_tried(&e))
}

fn run(cgroup: &Choice, backlog_limit: u32) -> Result<Proof> {
    let parent = match cgroup {
        Choice::Present(path) => path.as_path(),
        Choice::Mount(_) => Path::new(scene::OWN_MOUNT),
    };
    let mut child = Command::new("/proc/self/exe")
        .args(["doctor", "--stage", "scene", "--cgroup"])
        .arg(parent)
        .args(["--backlog-limit", &backlog_limit.to_string()])
        .args(["--parent", &std::process::id().to_string()])
        .env("SOCKWAY_OUTPUT", "json")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start a process for the proof")?;
    let last_words = child.stderr.take().map(collect);
    let stdout = child.stdout.take().context("no pipe to the proof")?;
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let read = BufReader::new(stdout).read_to_string(&mut text);
        // Who asked may have given up.
        let _gone = sender.send(read.map(|_| text));
    });
    let Ok(text) = answer.recv_timeout(LIMIT) else {
        child.kill().context("cannot end the proof")?;
        child.wait().context("cannot wait for the proof")?;
        bail!("the proof did not end within {} s", LIMIT.as_secs());
    };
    let text = text.context("cannot read what the proof said")?;
    let status = child.wait().context("cannot wait for the proof")?;
    let words = last_words
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    if text.is_empty() {
        let words = words.trim().trim_start_matches("[ERROR] ");
        return Err(if words.is_empty() {
            anyhow!("the proof ended with {status}")
        } else {
            anyhow!("{words}")
        });
    }
    serde_json::from_str(&text).with_context(|| format!("the proof said {text:?}"))
}

/// Reads the last line of a pipe.
fn collect(pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let lines = BufReader::new(pipe).lines();
        lines.map_while(Result::ok).last().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::{Finding, Proof, Verdict};

    #[test]
    fn the_worst_step_decides() {
        assert_eq!(Proof::default().verdict(), Verdict::Failed, "nothing tried");
        let mut proof = Proof {
            steps: vec![Finding::new("load", Verdict::Ok, "")],
            ..Proof::default()
        };
        assert_eq!(proof.verdict(), Verdict::Ok);
        proof.limits.push("less".to_owned());
        assert_eq!(proof.verdict(), Verdict::Limited);
        proof
            .steps
            .push(Finding::new("order", Verdict::Failed, "byte 3"));
        assert_eq!(proof.verdict(), Verdict::Failed);
        assert_eq!(proof.failure().unwrap().name, "order");
    }
}

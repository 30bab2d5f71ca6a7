//! Running the proof: in processes of its own, which take all they made with them when they end, however
//! they end.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::proof::Proof;
use super::scene;
use crate::sys::cgroup::Choice;

/// It takes about a second; who takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(30);

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

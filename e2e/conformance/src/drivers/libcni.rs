//! libcni itself, through the driver in `libcni/`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use sockway_testkit::command::{Ended, Run};

use super::{Answer, Call, Failure};
use crate::chains::Chain;
use crate::invoke::memory_file;
use crate::node::Node;

/// How long all calls together may take.
const LIMIT: Duration = Duration::from_mins(5);

#[derive(Deserialize)]
struct Line {
    id: usize,
    result: Option<Value>,
    #[serde(default)]
    error: String,
    code: Option<u64>,
}

pub(super) fn call(node: &Node, chain: &Chain, call: &Call<'_>) -> Result<Answer> {
    let mut answers = calls(node, chain, std::slice::from_ref(call), 1)?;
    answers.pop().context("one answer")
}

/// Calls in their order, up to `parallel` at a time; the answers in the same order.
pub(crate) fn calls(
    node: &Node,
    chain: &Chain,
    calls: &[Call<'_>],
    parallel: usize,
) -> Result<Vec<Answer>> {
    let lines: Vec<_> = calls
        .iter()
        .enumerate()
        .map(|(id, call)| line(id, call))
        .collect();
    let Ended {
        code,
        stdout,
        stderr,
    } = Run::new(&node.tools.libcni)
        .args(["-conflist".as_ref(), chain.file.as_os_str()])
        .args(["-plugins".as_ref(), node.path("bin").as_os_str()])
        .args(["-cache", "/var/lib/cni", "-parallel", &parallel.to_string()])
        .stdin(memory_file(lines.join("\n"))?)
        .limit(LIMIT)
        .ended()?;
    if code != Some(0) {
        bail!("sockway-libcni: {code:?} {stdout} {stderr}");
    }
    let mut answers = BTreeMap::new();
    for text in stdout.lines() {
        let line: Line = serde_json::from_str(text).with_context(|| format!("parse {text:?}"))?;
        let error = (!line.error.is_empty()).then_some(Failure {
            code: line.code,
            text: line.error,
        });
        answers.insert(
            line.id,
            Answer {
                result: line.result,
                error,
            },
        );
    }
    if answers.len() != calls.len() {
        bail!("{} answers to {} calls", answers.len(), calls.len());
    }
    Ok(answers.into_values().collect())
}

fn line(id: usize, call: &Call<'_>) -> String {
    let Call {
        verb,
        pod,
        capabilities,
        valid,
        ips: _,
    } = call;
    let valid: Vec<_> = valid
        .iter()
        .map(|pod| json!({ "containerID": pod.container, "ifname": pod.ifname }))
        .collect();
    let line = json!({
        "id": id, "verb": verb.name(), "container": pod.container, "netns": pod.netns,
        "ifname": pod.ifname, "args": pod.args(), "capabilities": capabilities, "valid": valid,
    });
    line.to_string()
}

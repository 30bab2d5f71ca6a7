//! The CNI project's command line.

use anyhow::{Context, Result};
use sockway_testkit::command::{Ended, Run};

use super::{Answer, Call, Verb};
use crate::chains::Chain;
use crate::node::Node;

pub(super) fn call(node: &Node, chain: &Chain, call: &Call<'_>) -> Result<Answer> {
    let Call {
        verb,
        pod,
        capabilities,
        valid: _,
        ips: _,
    } = call;
    let word = match verb {
        // It has no such subcommand, and prints nothing of the kind.
        Verb::Version => return Ok(Answer::failed(None, "cnitool has no such verb")),
        other => other.name().to_ascii_lowercase(),
    };
    let args: Vec<_> = pod
        .args()
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut run = Run::new(&node.tools.cnitool)
        .args([&word, &chain.network])
        .arg(&pod.netns)
        .env("NETCONFPATH", &chain.dir)
        .env("CNI_PATH", node.path("bin"))
        .env("CNI_ARGS", args.join(";"))
        .env("CNI_IFNAME", &pod.ifname);
    if !capabilities.is_null() {
        run = run.env("CAP_ARGS", capabilities.to_string());
    }
    let Ended {
        code,
        stdout,
        stderr,
    } = run.ended()?;
    if code != Some(0) {
        return Ok(Answer::failed(None, stderr.trim()));
    }
    let result = match verb {
        Verb::Add => Some(
            serde_json::from_str(&stdout)
                .with_context(|| format!("parse the result {stdout:?}"))?,
        ),
        _ => None,
    };
    Ok(Answer {
        result,
        error: None,
    })
}

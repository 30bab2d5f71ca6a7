//! kubectl, the way the tests use it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::parts::Parts;
use crate::run::Run;
use crate::space::Space;

/// kubectl of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Kubectl {
    pub(crate) space: Space,
    pub(crate) parts: Parts,
}

impl Kubectl {
    /// A call; every call is bounded in time.
    pub(crate) fn call<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Run {
        self.space.run(self.parts.kubernetes("kubectl")).args(args)
    }

    /// A call written as one line, without quotes.
    pub(crate) fn line(&self, line: &str) -> Run {
        self.call(line.split_whitespace())
    }

    pub(crate) fn apply(&self, manifest: &str) -> Result<()> {
        self.line("apply -f -").input(manifest).done()
    }

    pub(crate) fn json(&self, line: &str) -> Result<Value> {
        let text = self.line(&format!("{line} -o json")).output()?;
        serde_json::from_str(&text).with_context(|| format!("kubectl {line} printed no JSON"))
    }

    /// Waits for a roll-out.
    pub(crate) fn rolled_out(&self, namespace: &str, what: &str, limit: Duration) -> Result<()> {
        let seconds = limit.as_secs();
        self.line(&format!(
            "-n {namespace} rollout status {what} --timeout={seconds}s"
        ))
        .limit(limit + Duration::from_secs(10))
        .done()
    }

    /// Runs a command in a container and returns what it printed.
    pub(crate) fn exec(&self, namespace: &str, target: &str, command: &str) -> Run {
        self.line(&format!("-n {namespace} exec {target} -- {command}"))
    }
}

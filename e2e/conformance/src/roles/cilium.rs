//! A plugin in the place of terway's `cilium-cni`: it needs prevResult, and
//! answers with it. With `testFails` its ADD fails, as any plugin's after ours may.

use anyhow::{Result, bail};
use serde_json::Value;

use super::Call;

pub(super) fn answer(call: &Call) -> Result<Option<Value>> {
    if call.verb != "ADD" {
        return Ok(None);
    }
    if call.conf["testFails"] == true {
        bail!("asked to fail");
    }
    match &call.conf["prevResult"] {
        Value::Object(result) => Ok(Some(Value::Object(result.clone()))),
        other => bail!("prevResult is {other}: cilium-cni stands behind terway"),
    }
}

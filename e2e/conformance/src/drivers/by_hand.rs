//! The plugin's own process, called by the words of the specification.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sockway_testkit::command::{Ended, Run};

use super::{Answer, Call, Verb};
use crate::chains::Chain;
use crate::invoke::memory_file;
use crate::node::Node;

pub(super) fn call(node: &Node, chain: &Chain, call: &Call<'_>) -> Result<Answer> {
    let Call {
        verb,
        pod,
        capabilities,
        valid,
        ips,
    } = call;
    let mut conf = chain.ours()?;
    let result = prev_result(call, chain.version);
    match verb {
        Verb::Version => conf = json!({ "cniVersion": chain.version }),
        Verb::Status => {}
        Verb::Gc => {
            let valid = valid
                .iter()
                .map(|pod| json!({ "containerID": pod.container, "ifname": pod.ifname }));
            conf["cni.dev/valid-attachments"] = valid.collect();
        }
        Verb::Del if ips.is_empty() => {}
        Verb::Add | Verb::Check | Verb::Del => conf["prevResult"] = result.clone(),
    }
    let declared = "io.kubernetes.cri.pod-annotations";
    if let Some(annotations) = capabilities.get(declared) {
        conf["runtimeConfig"] = json!({ declared: annotations });
    }
    let mut run = Run::new(&node.tools.plugin)
        .bare()
        .env("CNI_COMMAND", verb.name())
        .env("CNI_PATH", node.path("bin"));
    if matches!(verb, Verb::Add | Verb::Check | Verb::Del) {
        let args: Vec<_> = pod
            .args()
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        run = run
            .env("CNI_CONTAINERID", &pod.container)
            .env("CNI_IFNAME", &pod.ifname)
            .env("CNI_NETNS", &pod.netns)
            .env("CNI_ARGS", args.join(";"));
    }
    let Ended {
        code,
        stdout,
        stderr,
    } = run.stdin(memory_file(conf.to_string())?).ended()?;
    if code == Some(0) {
        return answered(*verb, &result.to_string(), &stdout);
    }
    let error: Value = serde_json::from_str(&stdout)
        .with_context(|| format!("an error that is no document: {stdout:?} {stderr}"))?;
    let said = error["code"].as_u64();
    if said != code.and_then(|code| u64::try_from(code).ok())
        || error["cniVersion"] != chain.version
    {
        bail!(
            "exit code {code:?} and version {} do not go with {error}",
            chain.version
        );
    }
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    Ok(Answer::failed(
        said,
        format!("{}; {}", text("msg"), text("details")),
    ))
}

/// Checks what success looks like.
fn answered(verb: Verb, prev_result: &str, stdout: &str) -> Result<Answer> {
    match verb {
        // Byte for byte.
        Verb::Add if stdout == prev_result => Ok(Answer {
            result: serde_json::from_str(stdout).ok(),
            error: None,
        }),
        Verb::Version => {
            let reply: Value = serde_json::from_str(stdout).context("parse the versions")?;
            if reply["supportedVersions"] != json!(crate::chains::VERSIONS) {
                bail!("VERSION answers {reply}");
            }
            Ok(Answer::OK)
        }
        Verb::Check | Verb::Del | Verb::Gc | Verb::Status if stdout.is_empty() => Ok(Answer::OK),
        _ => bail!("{} answers {stdout:?}", verb.name()),
    }
}

/// A result with what a plugin does not know, in the form of a version.
fn prev_result(call: &Call<'_>, version: &str) -> Value {
    let Call { pod, ips, .. } = call;
    let ips: Vec<_> = ips
        .iter()
        .map(|ip| {
            let (family, length) = if ip.is_ipv4() { ("4", 16) } else { ("6", 64) };
            let mut entry = json!({ "interface": 0, "address": format!("{ip}/{length}") });
            if version.starts_with('0') {
                entry["version"] = json!(family);
            }
            entry
        })
        .collect();
    json!({
        "cniVersion": version,
        "interfaces": [{ "name": pod.ifname, "sandbox": pod.container }],
        "ips": ips,
        "dns": {},
        "x-unknown": [1.50, "\u{e9}"],
    })
}

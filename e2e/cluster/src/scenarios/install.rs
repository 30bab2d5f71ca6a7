//! Installed as users do: by the chart as it is, then by the manifest.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::Stage;
use crate::{app, fortio, product};

const TCP: &str = "-c 16 -qps 0 -t 2s -payload-size 1024 tcp://fortioserver:8078";

pub(super) fn run(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    app::article(kubectl, "article", None, true)?;
    let plain = fortio::load(kubectl, "article", TCP)?;
    let started = Instant::now();
    product::install(kubectl, "")?;
    stage.note(format!(
        "helm install to ready: {:.1} s",
        started.elapsed().as_secs_f64()
    ));
    stage.part("what an operator sees", operator);
    stage.part("rights", rights);
    stage.part("pods that were there before", |stage| {
        accelerated(stage, plain.bytes)
    });
    stage.part("new pods", |stage| {
        stage
            .kubectl
            .line("-n article rollout restart deployment")
            .done()?;
        app::ready(stage.kubectl, "article")?;
        accelerated(stage, plain.bytes)
    });
    stage.part("helm uninstall", |stage| {
        app::remove(stage.kubectl, "article")?;
        let started = Instant::now();
        product::uninstall(stage.kubectl, Duration::from_mins(2))?;
        gone(stage)?;
        stage.note(format!(
            "helm uninstall to clean: {:.1} s",
            started.elapsed().as_secs_f64()
        ));
        Ok(())
    });
    stage.part("kubectl apply of the manifest", |stage| {
        product::apply(stage.kubectl)?;
        app::article(stage.kubectl, "article", None, true)?;
        accelerated(stage, plain.bytes)?;
        app::remove(stage.kubectl, "article")?;
        product::delete(stage.kubectl)
    });
    Ok(())
}

/// Log, events, `status`, `pods`, `explain`: what somebody looks at who was not there.
fn operator(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    let log = kubectl
        .line("-n kube-system logs daemonset/sockway")
        .output()?;
    if log.trim().is_empty() {
        bail!("kubectl logs shows nothing");
    }
    let events = kubectl
        .line("-n kube-system get events --field-selector type=Warning -o name")
        .output()?;
    let status = product::ask(kubectl, "status")?;
    let pods = product::ask(kubectl, "pods")?;
    let count = pods
        .as_array()
        .or_else(|| pods["pods"].as_array())
        .map_or(0, Vec::len);
    stage.note(format!(
        "kubectl logs {} lines, {} warnings in events, sockway pods {count}, status keys {}",
        log.lines().count(),
        events.lines().count(),
        status.as_object().map_or(0, serde_json::Map::len),
    ));
    Ok(())
}

/// The container's capabilities as the kernel has them.
fn rights(stage: &mut Stage) -> Result<()> {
    let set = product::process(stage.kubectl)?.status("CapEff")?;
    let bits = u64::from_str_radix(&set, 16).context("a capability set")?;
    let names: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, name)| *name)
        .collect();
    if bits.count_ones() as usize != names.len() {
        bail!("capabilities beyond those that the chart asks for: {set}");
    }
    stage.note(format!("capabilities: {}", names.join(" ")));
    Ok(())
}

/// Those that the chart may ask for.
const CAPABILITIES: [(u32, &str); 8] = [
    (0, "CHOWN"),
    (1, "DAC_OVERRIDE"),
    (12, "NET_ADMIN"),
    (19, "SYS_PTRACE"),
    (21, "SYS_ADMIN"),
    (24, "SYS_RESOURCE"),
    (38, "PERFMON"),
    (39, "BPF"),
];

/// Traffic by a warm pool moves off the interfaces.
fn accelerated(stage: &mut Stage, plain: f64) -> Result<()> {
    let kubectl = stage.kubectl;
    fortio::load(kubectl, "article", TCP)?;
    let warm = fortio::load(kubectl, "article", TCP)?;
    let share = 1.0 - warm.bytes / plain;
    stage.note(format!(
        "{:.1} % of the bytes left the interfaces ({:.0} a request on plain, {:.0} now)",
        share * 100.0,
        plain,
        warm.bytes
    ));
    if share < 0.95 {
        let status = product::ask(kubectl, "status").unwrap_or(Value::Null);
        bail!("less than 95 % of the bytes are redirected: {status}");
    }
    Ok(())
}

/// Nothing of it is left on the node but the plugin's binary.
fn gone(stage: &Stage) -> Result<()> {
    let left = stage
        .kubectl
        .space
        .run("sh")
        .args([
            "-c",
            "ls -d /sys/fs/bpf/sockway* 2>/dev/null; grep -l sockway /etc/cni/net.d/* || true",
        ])
        .output()?;
    if !left.trim().is_empty() {
        bail!("left on the node: {}", left.trim());
    }
    Ok(())
}

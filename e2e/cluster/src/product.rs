//! Sockway in the cluster: by its chart, or by its manifest.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::kubectl::Kubectl;
use crate::run::Run;

const SOON: Duration = Duration::from_mins(2);

/// Sockway's namespace.
pub(crate) const NAMESPACE: &str = "kube-system";

/// helm in the cluster.
pub(crate) fn helm(kubectl: &Kubectl, line: &str) -> Run {
    kubectl
        .space
        .run(&kubectl.parts.helm)
        .args(line.split_whitespace())
        .args(["--namespace", NAMESPACE])
        .limit(Duration::from_mins(3))
}

/// `helm install` of the chart as it is, with further arguments, and ready.
pub(crate) fn install(kubectl: &Kubectl, further: &str) -> Result<()> {
    upgrade(kubectl, further)?;
    ready(kubectl)
}

/// The same without waiting.
pub(crate) fn upgrade(kubectl: &Kubectl, further: &str) -> Result<()> {
    let chart = kubectl.parts.root.join("conf/helm/sockway");
    let cgroup = cgroup();
    let line = format!(
        "upgrade --install --reset-values sockway {} --set paths.cgroup={cgroup} {further}",
        chart.display()
    );
    helm(kubectl, &line).done()
}

/// `kubectl apply` of the manifest as it is, and ready.
pub(crate) fn apply(kubectl: &Kubectl) -> Result<()> {
    kubectl
        .line("apply -f")
        .arg(kubectl.parts.root.join("conf/manifests/sockway.yaml"))
        .done()?;
    kubectl
        .line(&format!(
            "-n {NAMESPACE} set env daemonset/sockway SOCKWAY_CGROUP={}",
            cgroup()
        ))
        .done()?;
    ready(kubectl)
}

/// The node's part of the hierarchy as the container sees it: the one value that a
/// user changes where a node is itself a container.
fn cgroup() -> &'static str {
    if Path::new("/sys/fs/cgroup/unified").exists() {
        "/host/sys/fs/cgroup/unified"
    } else {
        "/host/sys/fs/cgroup"
    }
}

/// Waits for the `DaemonSet`.
pub(crate) fn ready(kubectl: &Kubectl) -> Result<()> {
    kubectl
        .rolled_out(NAMESPACE, "daemonset/sockway", SOON)
        .with_context(|| trouble(kubectl))
}

/// What an operator would look at.
fn trouble(kubectl: &Kubectl) -> String {
    let look = |line: &str| {
        kubectl
            .line(line)
            .output()
            .unwrap_or_else(|error| format!("{error:#}"))
    };
    format!(
        "DaemonSet sockway is not ready\n{}\n{}",
        look("-n kube-system describe pods -l app.kubernetes.io/name=sockway"),
        look("-n kube-system logs -l app.kubernetes.io/name=sockway --tail=20"),
    )
}

/// `sockway ...` in the `DaemonSet`'s pod, as JSON.
pub(crate) fn ask(kubectl: &Kubectl, command: &str) -> Result<Value> {
    let text = kubectl
        .exec(
            NAMESPACE,
            "daemonset/sockway",
            &format!("/sockway {command} -o json"),
        )
        .output()?;
    serde_json::from_str(&text)
        .with_context(|| format!("sockway {command} printed no JSON: {text}"))
}

/// `helm uninstall`, and the nodes clean.
pub(crate) fn uninstall(kubectl: &Kubectl, limit: Duration) -> Result<()> {
    helm(kubectl, "uninstall sockway").done()?;
    clean(kubectl, limit)
}

/// Waits until the `DaemonSet` that cleans the nodes has done so, and deletes it.
pub(crate) fn clean(kubectl: &Kubectl, limit: Duration) -> Result<()> {
    kubectl
        .rolled_out(NAMESPACE, "daemonset/sockway-uninstall", limit)
        .with_context(|| trouble(kubectl))?;
    kubectl
        .line("-n kube-system delete daemonset sockway-uninstall --wait=true")
        .done()
}

/// Takes away what the manifest brought: `kubectl delete`, then the same clean-up
/// that the chart has, from the node itself.
pub(crate) fn delete(kubectl: &Kubectl) -> Result<()> {
    kubectl
        .line("delete --wait=true -f")
        .arg(kubectl.parts.root.join("conf/manifests/sockway.yaml"))
        .done()?;
    // The DaemonSet is gone before its pods are.
    kubectl
        .line("-n kube-system wait --for=delete pod -l app.kubernetes.io/component=node --timeout=60s")
        .done()?;
    kubectl
        .space
        .run(kubectl.parts.ours("sockway"))
        .arg("uninstall")
        .done()
}

/// A process that runs in the node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) i32);

impl Process {
    /// A line of its `/proc/PID/status`.
    pub(crate) fn status(self, name: &str) -> Result<String> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0))
            .context("the process is gone")?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line
            .with_context(|| format!("no {name}"))?
            .trim()
            .to_owned())
    }

    /// Kills it on the spot.
    pub(crate) fn kill(self) -> Result<()> {
        kill(Pid::from_raw(self.0), Signal::SIGKILL).context("cannot kill it")
    }
}

/// The process of the `DaemonSet`'s pod: found by the pod's own cgroup.
pub(crate) fn process(kubectl: &Kubectl) -> Result<Process> {
    let pods = kubectl.json("-n kube-system get pods -l app.kubernetes.io/component=node")?;
    let pod = &pods["items"][0];
    let id = pod["status"]["containerStatuses"][0]["containerID"]
        .as_str()
        .context("no container runs")?
        .trim_start_matches("containerd://")
        .to_owned();
    let text = kubectl
        .space
        .run("ctr")
        .args(["--namespace", "k8s.io", "tasks", "ls"])
        .output()?;
    let line = text.lines().find(|line| line.starts_with(&id));
    let pid = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    Ok(Process(
        pid.context("containerd does not know the container")?,
    ))
}

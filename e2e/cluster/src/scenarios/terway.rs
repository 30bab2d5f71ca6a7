//! Chained after terway, whose part is played by a stand-in, beside the real Istio CNI.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::Stage;
use crate::kubectl::Kubectl;
use crate::run::until;
use crate::{app, fortio, product};

const NAMESPACE: &str = "terway";
const LIST: &str = "/etc/cni/net.d/10-terway.conflist";
const SOON: Duration = Duration::from_mins(1);
/// For so long nobody may write the list any more.
const QUIET: Duration = Duration::from_secs(15);
const TCP: &str = "-c 16 -qps 0 -t 2s -payload-size 1024 tcp://fortioserver:8078";

pub(super) fn run(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    arrive(kubectl)?;
    stage.part("Sockway comes last", |stage| {
        product::install(stage.kubectl, "")?;
        settled(stage, "Sockway after Istio CNI")?;
        traffic(stage)
    });
    for (what, line) in [
        (
            "terwayd restarts",
            "-n kube-system rollout restart daemonset/terway-eniip",
        ),
        (
            "Istio CNI restarts",
            "-n istio-system rollout restart daemonset/istio-cni-node",
        ),
        (
            "Sockway restarts",
            "-n kube-system rollout restart daemonset/sockway",
        ),
    ] {
        stage.part(what, |stage| {
            stage.kubectl.line(line).done()?;
            let (namespace, name) = (line.split(' ').nth(1), line.split(' ').next_back());
            stage.kubectl.rolled_out(
                namespace.context("a namespace")?,
                name.context("a name")?,
                SOON,
            )?;
            settled(stage, what)
        });
    }
    stage.part("all three restart at once", |stage| {
        for line in [
            "-n kube-system rollout restart daemonset/terway-eniip daemonset/sockway",
            "-n istio-system rollout restart daemonset/istio-cni-node",
        ] {
            stage.kubectl.line(line).done()?;
        }
        product::ready(stage.kubectl)?;
        stage
            .kubectl
            .rolled_out("istio-system", "daemonset/istio-cni-node", SOON)?;
        settled(stage, "all three restart at once")?;
        traffic(stage)
    });
    stage.part("Sockway comes first", |stage| {
        product::uninstall(stage.kubectl, SOON)?;
        stage
            .kubectl
            .line("-n istio-system delete pods -l k8s-app=istio-cni-node --wait=false")
            .done()?;
        product::install(stage.kubectl, "")?;
        stage
            .kubectl
            .rolled_out("istio-system", "daemonset/istio-cni-node", SOON)?;
        settled(stage, "Istio CNI after Sockway")?;
        traffic(stage)
    });
    Ok(())
}

/// The node's main plugin becomes terway; pods are made anew.
fn arrive(kubectl: &Kubectl) -> Result<()> {
    let script = format!(
        "set -e; install -m 755 {} /opt/cni/bin/terway; rm -f /etc/cni/net.d/10-node.conflist",
        kubectl.parts.ours("sockway-cluster").display()
    );
    kubectl.space.run("sh").args(["-c", &script]).done()?;
    kubectl.apply(include_str!("../../manifests/terway.yaml"))?;
    kubectl.rolled_out("kube-system", "daemonset/terway-eniip", SOON)?;
    // Istio CNI goes on waiting for the file that is gone.
    kubectl
        .line("-n istio-system delete pods -l k8s-app=istio-cni-node --wait=false")
        .done()?;
    kubectl.rolled_out("istio-system", "daemonset/istio-cni-node", SOON)?;
    kubectl
        .line("-n istio-system rollout restart deployment/istiod")
        .done()?;
    kubectl.rolled_out("istio-system", "deployment/istiod", SOON)?;
    kubectl
        .line("-n kube-system rollout restart deployment/coredns")
        .done()?;
    kubectl.rolled_out("kube-system", "deployment/coredns", SOON)
}

/// Every plugin once, terway first; and then nobody writes the list any more.
fn settled(stage: &mut Stage, what: &str) -> Result<()> {
    let started = Instant::now();
    let space = &stage.kubectl.space;
    let list = || space.run("cat").arg(LIST).output();
    let types = until("a list with every plugin once", SOON, || {
        let list: Value = serde_json::from_str(&list()?).context("the list")?;
        let plugins = list["plugins"].as_array().context("no plugins")?;
        let types: Vec<_> = plugins
            .iter()
            .filter_map(|one| one["type"].as_str())
            .collect();
        let once = |name: &str| types.iter().filter(|one| **one == name).count() == 1;
        ensure!(
            types.first() == Some(&"terway") && once("istio-cni") && once("sockway-cni"),
            "{types:?}"
        );
        Ok(types.join(", "))
    })?;
    let took = started.elapsed();
    let stamp = || space.run("stat").args(["-c", "%y %i", LIST]).output();
    // The last repair may still be on its way.
    thread::sleep(Duration::from_secs(3));
    let before = stamp()?;
    thread::sleep(QUIET);
    if stamp()? != before {
        bail!("somebody still writes {LIST}");
    }
    stage.note(format!("{what}: {types} after {:.1} s", took.as_secs_f64()));
    Ok(())
}

/// New pods have sidecars that work, and their bytes are redirected.
fn traffic(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    app::article(kubectl, NAMESPACE, Some("off"), true)?;
    let plain = fortio::load(kubectl, NAMESPACE, TCP)?;
    app::article(kubectl, NAMESPACE, None, true)?;
    fortio::load(kubectl, NAMESPACE, TCP)?;
    let with = fortio::load(kubectl, NAMESPACE, TCP)?;
    app::remove(kubectl, NAMESPACE)?;
    let share = 1.0 - with.bytes / plain.bytes;
    stage.note(format!(
        "behind terway's stand-in: {:.1} % of the bytes left the interfaces",
        share * 100.0
    ));
    ensure!(share >= 0.95, "less than 95 % of the bytes are redirected");
    Ok(())
}

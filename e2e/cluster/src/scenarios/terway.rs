//! Chained after terway, beside the real Istio CNI: its part is played by a stand-in, or
//! its plugin is the real one and its daemon is played.

mod arrival;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::Stage;
use crate::roles::Mode;
use crate::run::until;
use crate::{app, fortio, images, product};

const NAMESPACE: &str = "terway";
const LIST: &str = "/etc/cni/net.d/10-terway.conflist";
const SOON: Duration = Duration::from_mins(1);
/// For so long nobody may write the list any more.
const QUIET: Duration = Duration::from_secs(10);
const TCP: &str = "-c 16 -qps 0 -t 2s -payload-size 1024 tcp://fortioserver:8078";
/// terway's, Sockway's and Istio's.
const DAEMONS: [(&str, &str); 3] = [
    ("kube-system", "daemonset/terway-eniip"),
    ("kube-system", "daemonset/sockway"),
    ("istio-system", "daemonset/istio-cni-node"),
];
/// Pods that are made while daemons restart.
const PODS: u32 = 6;

pub(super) fn run(stage: &mut Stage) -> Result<()> {
    arrival::arrive(stage)?;
    stage.part("Sockway comes last", |stage| {
        product::install(stage.kubectl, "")?;
        settled(stage, "Sockway after Istio CNI")?;
        traffic(stage, Mode::Policy)
    });
    for (namespace, name) in DAEMONS {
        stage.part(name, |stage| {
            restart(stage, namespace, name)?;
            over(stage, &[(namespace, name)])?;
            settled(stage, &format!("{name} restarts"))
        });
    }
    stage.part("all three restart at once", |stage| {
        for (namespace, name) in DAEMONS {
            restart(stage, namespace, name)?;
        }
        pods(stage)?;
        over(stage, &DAEMONS)?;
        settled(stage, "all three restart at once")?;
        traffic(stage, Mode::Policy)
    });
    stage.part("all three are upgraded at once", |stage| {
        images::tag(&stage.kubectl.space, "next")?;
        for (namespace, name) in [DAEMONS[0], DAEMONS[2]] {
            let line = format!("-n {namespace} set env {name} UPGRADED=1");
            stage.kubectl.line(&line).done()?;
        }
        product::upgrade(stage.kubectl, "--set image.tag=next")?;
        pods(stage)?;
        over(stage, &DAEMONS)?;
        settled(stage, "all three are upgraded at once")
    });
    stage.part("Sockway comes first", |stage| {
        product::uninstall(stage.kubectl, SOON)?;
        arrival::istio_again(stage.kubectl, false)?;
        product::install(stage.kubectl, "")?;
        over(stage, &DAEMONS[2..])?;
        settled(stage, "Istio CNI after Sockway")?;
        traffic(stage, Mode::Policy)
    });
    stage.part("exclusive mode", |stage| {
        arrival::exclusive(stage)?;
        traffic(stage, Mode::Exclusive)
    });
    Ok(())
}

fn restart(stage: &Stage, namespace: &str, name: &str) -> Result<()> {
    let line = format!("-n {namespace} rollout restart {name}");
    stage.kubectl.line(&line).done()
}

fn over(stage: &Stage, daemons: &[(&str, &str)]) -> Result<()> {
    for (namespace, name) in daemons {
        stage.kubectl.rolled_out(namespace, name, SOON)?;
    }
    Ok(())
}

/// Pods that are made while the list is written by all: each comes up.
fn pods(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    let name = |number: u32| format!("meanwhile{number}");
    for number in 0..PODS {
        let line = format!(
            "run {} --image=sockway.local/pause:cluster --image-pull-policy=Never",
            name(number)
        );
        kubectl.line(&line).done()?;
    }
    for number in 0..PODS {
        let line = format!(
            "wait --for=condition=Ready pod/{} --timeout=60s",
            name(number)
        );
        kubectl.line(&line).done()?;
        let line = format!("delete pod {} --grace-period=0 --force", name(number));
        kubectl.line(&line).done()?;
    }
    stage.note(format!("{PODS} pods meanwhile, none failed"));
    Ok(())
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
fn traffic(stage: &mut Stage, mode: Mode) -> Result<()> {
    let kubectl = stage.kubectl;
    app::article(kubectl, NAMESPACE, Some("off"), true)?;
    arrival::as_wired(stage, mode)?;
    fortio::load(kubectl, NAMESPACE, TCP)?;
    let plain = fortio::load(kubectl, NAMESPACE, TCP)?;
    app::article(kubectl, NAMESPACE, None, true)?;
    fortio::load(kubectl, NAMESPACE, TCP)?;
    let with = fortio::load(kubectl, NAMESPACE, TCP)?;
    app::remove(kubectl, NAMESPACE)?;
    let share = 1.0 - with.bytes / plain.bytes;
    stage.note(format!(
        "{} mode: {:.1} % of the bytes left the interfaces, {:.0} requests/s, plain {:.0}",
        mode.word(),
        share * 100.0,
        with.qps,
        plain.qps
    ));
    ensure!(share >= 0.95, "less than 95 % of the bytes are redirected");
    Ok(())
}

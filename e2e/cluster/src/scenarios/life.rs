//! A day in the life of a node, under verified traffic all the while: one pair of
//! pods with Sockway, one on plain beside it, and the same happens to both.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::Stage;
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::verified::{self, Report, Traffic};
use crate::{app, images, launch, product};

/// Namespaces: with Sockway, and with scope `off`.
const PAIRS: [(&str, &str); 2] = [("life", "auto"), ("lifeplain", "off")];
/// Traffic goes on for so long before and after something happens.
const AROUND: Duration = Duration::from_secs(2);

/// Something that happens to a node.
struct Event {
    what: &'static str,
    /// How long it may take, with what it takes to be over.
    seconds: u64,
    /// Plain loses connections by it: as many may be lost with Sockway.
    breaks: bool,
    happen: fn(&Stage) -> Result<()>,
}

const EVENTS: [Event; 13] = [
    Event {
        what: "server: rollout restart",
        seconds: 25,
        breaks: true,
        happen: |stage| both(stage, "rollout restart deployment/server"),
    },
    Event {
        what: "a server's pod deleted with grace",
        seconds: 15,
        breaks: true,
        happen: |stage| delete_one(stage, "--grace-period=5"),
    },
    Event {
        what: "a server's pod deleted without grace",
        seconds: 15,
        breaks: true,
        happen: |stage| delete_one(stage, "--grace-period=0 --force"),
    },
    Event {
        what: "kubelet restarted",
        seconds: 12,
        breaks: false,
        happen: |stage| restart(stage, "kubelet"),
    },
    Event {
        what: "containerd restarted",
        seconds: 12,
        breaks: false,
        happen: |stage| restart(stage, "containerd"),
    },
    Event {
        what: "istiod restarted",
        seconds: 25,
        breaks: false,
        happen: istiod,
    },
    Event {
        what: "DaemonSet's pod killed with -9",
        seconds: 12,
        breaks: false,
        happen: killed,
    },
    Event {
        what: "DaemonSet's pod deleted",
        seconds: 15,
        breaks: false,
        happen: pod_deleted,
    },
    Event {
        what: "DaemonSet deleted, and installed again",
        seconds: 20,
        breaks: false,
        happen: set_deleted,
    },
    Event {
        what: "helm upgrade to another image",
        seconds: 20,
        breaks: false,
        happen: |stage| upgrade(stage, "next"),
    },
    Event {
        what: "helm upgrade back",
        seconds: 20,
        breaks: false,
        happen: |stage| upgrade(stage, ""),
    },
    Event {
        what: "pods come and go",
        seconds: 120,
        breaks: false,
        happen: crowd,
    },
    Event {
        what: "helm uninstall with connections open",
        seconds: 40,
        breaks: false,
        happen: uninstall,
    },
];

pub(super) fn run(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    product::install(kubectl, "")?;
    for (namespace, scope) in PAIRS {
        verified::pair(kubectl, namespace, scope)?;
    }
    for event in &EVENTS {
        stage.part(event.what, |stage| under_traffic(stage, event));
    }
    stage.part("pods of an uninstalled version deleted", |stage| {
        // They were made with our plugin in their list.
        app::restart(stage.kubectl, "life")?;
        verified::works(stage.kubectl, "life").map(drop)
    });
    product::install(kubectl, "")?;
    stage.part("pods start while the keeper is away", without_keeper);
    stage.part("pod start latency", latency);
    stage.part("the node reboots", reboot);
    for (namespace, _) in PAIRS {
        app::remove(kubectl, namespace)?;
    }
    Ok(())
}

fn under_traffic(stage: &mut Stage, event: &Event) -> Result<()> {
    let kubectl = stage.kubectl;
    for (namespace, _) in PAIRS {
        verified::works(kubectl, namespace)?;
    }
    let traffic = PAIRS
        .iter()
        .map(|(namespace, _)| Traffic::start(kubectl, namespace, event.seconds))
        .collect::<Result<Vec<_>>>()?;
    thread::sleep(AROUND);
    let started = Instant::now();
    let happened = (event.happen)(stage);
    let took = started.elapsed();
    let mut reports = Vec::new();
    for one in traffic {
        reports.push(one.end()?);
    }
    happened?;
    if took + AROUND > Duration::from_secs(event.seconds) {
        stage.fault(format!(
            "{}: took {:.0} s, longer than the traffic",
            event.what,
            took.as_secs_f64()
        ));
    }
    let [with, plain] = &reports[..] else {
        bail!("two reports were expected");
    };
    let words = |report: &Report| {
        format!(
            "{} verified, {} lost {:?}",
            report.verified,
            report.faults(),
            report.faults
        )
    };
    stage.note(format!(
        "{} ({:.1} s): {}; plain {}",
        event.what,
        took.as_secs_f64(),
        words(with),
        words(plain)
    ));
    let corrupt = |report: &Report| {
        let of = |kind: &str| report.faults.get(kind).copied().unwrap_or_default();
        of("corrupt") + of("mismatch")
    };
    if with.verified == 0 || corrupt(with) > 0 {
        stage.fault(format!("{}: {}", event.what, with.words));
    }
    // What is cut off is cut off by chance: eight connections at a time are open.
    let allowed = if event.breaks {
        plain.faults() + 8
    } else {
        plain.faults()
    };
    if with.faults() > allowed {
        stage.fault(format!(
            "{}: more is lost than on plain: {}",
            event.what, with.words
        ));
    }
    Ok(())
}

fn both(stage: &Stage, line: &str) -> Result<()> {
    for (namespace, _) in PAIRS {
        stage
            .kubectl
            .line(&format!("-n {namespace} {line}"))
            .done()?;
    }
    for (namespace, _) in PAIRS {
        app::ready(stage.kubectl, namespace)?;
    }
    Ok(())
}

fn delete_one(stage: &Stage, how: &str) -> Result<()> {
    for (namespace, _) in PAIRS {
        let names = stage
            .kubectl
            .line(&format!("-n {namespace} get pods -l app=server -o name"))
            .output()?;
        let name = names.lines().next().context("no pod")?.to_owned();
        stage
            .kubectl
            .line(&format!("-n {namespace} delete {name} --wait=false {how}"))
            .done()?;
    }
    for (namespace, _) in PAIRS {
        app::ready(stage.kubectl, namespace)?;
    }
    Ok(())
}

fn restart(stage: &Stage, name: &str) -> Result<()> {
    let node = Node(stage.kubectl);
    launch::stop(&stage.kubectl.space, name)?;
    match name {
        "kubelet" => node.kubelet()?,
        _ => node.containerd()?,
    }
    node.ready()
}

fn istiod(stage: &Stage) -> Result<()> {
    stage
        .kubectl
        .line("-n istio-system rollout restart deployment/istiod")
        .done()?;
    stage
        .kubectl
        .rolled_out("istio-system", "deployment/istiod", Duration::from_mins(1))
}

fn killed(stage: &Stage) -> Result<()> {
    let before = product::process(stage.kubectl)?;
    before.kill()?;
    crate::run::until("another process", Duration::from_secs(30), || {
        let now = product::process(stage.kubectl)?;
        anyhow::ensure!(now.0 != before.0, "still the same");
        Ok(())
    })?;
    product::ready(stage.kubectl)
}

fn pod_deleted(stage: &Stage) -> Result<()> {
    stage
        .kubectl
        .line("-n kube-system delete pods -l app.kubernetes.io/component=node --wait=true")
        .done()?;
    product::ready(stage.kubectl)
}

fn set_deleted(stage: &Stage) -> Result<()> {
    stage
        .kubectl
        .line("-n kube-system delete daemonset/sockway --wait=true")
        .done()?;
    product::install(stage.kubectl, "")
}

/// The same image under another tag stands for another version.
fn upgrade(stage: &Stage, tag: &str) -> Result<()> {
    if tag.is_empty() {
        return product::install(stage.kubectl, "");
    }
    images::tag(&stage.kubectl.space, tag)?;
    product::install(stage.kubectl, &format!("--set image.tag={tag}"))
}

fn crowd(stage: &Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    let scale = |count: u32| -> Result<()> {
        kubectl
            .line(&format!(
                "-n life scale deployment/crowd --replicas={count}"
            ))
            .done()?;
        app::ready(kubectl, "life")
    };
    scale(stage.options.crowd)?;
    scale(1)
}

fn uninstall(stage: &Stage) -> Result<()> {
    product::uninstall(stage.kubectl, Duration::from_secs(35))
}

/// The binary stays and works by itself; the entry in the list too.
fn without_keeper(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    kubectl
        .line("-n kube-system delete daemonset/sockway --wait=true")
        .done()?;
    let result = app::restart(kubectl, "life").and_then(|()| verified::works(kubectl, "life"));
    product::install(kubectl, "")?;
    let report = result?;
    stage.note(format!(
        "pods started without the DaemonSet: {} connections verified",
        report.verified
    ));
    Ok(())
}

/// From `kubectl scale` to ready, with and without the plugin in the list.
fn latency(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..stage.options.rounds * 2 {
        // Pods of kube-system's kind, which the plugin leaves alone, would not be
        // what is measured: the same pods, in a list with and without the entry.
        let with = round % 2 == 0;
        if !with {
            product::uninstall(kubectl, Duration::from_mins(2))?;
        }
        for _ in 0..3 {
            times[usize::from(!with)].push(one_start(kubectl)?);
        }
        if !with {
            product::install(kubectl, "")?;
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let [with, plain] = &mut times;
    let (with, plain) = (median(with), median(plain));
    stage.note(format!(
        "pod sandbox by the runtime: {:.0} ms, on plain {:.0} ms ({:+.1} %)",
        with * 1e3,
        plain * 1e3,
        (with / plain - 1.0) * 100.0
    ));
    Ok(())
}

/// Seconds from the start of a pod's sandbox to its network, as the API has it, are
/// whole: a pod of one container from nothing to its end is measured instead.
fn one_start(kubectl: &Kubectl) -> Result<f64> {
    let started = Instant::now();
    kubectl
        .line("-n lifeplain run once --image=sockway.local/pause:cluster --image-pull-policy=Never --labels=sidecar.istio.io/inject=false")
        .done()?;
    kubectl
        .line("-n lifeplain wait --for=condition=Ready pod/once --timeout=60s")
        .done()?;
    let took = started.elapsed();
    kubectl
        .line("-n lifeplain delete pod once --grace-period=0 --force")
        .done()?;
    Ok(took.as_secs_f64())
}

/// Everything ends at once; memory file systems are empty; the disk is as it was.
fn reboot(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    verified::works(kubectl, "life")?;
    let started = Instant::now();
    kubectl.space.power_cut()?;
    let this = kubectl.parts.ours("sockway-cluster");
    kubectl.space.run(&this).arg("reset").done()?;
    Node(kubectl).start()?;
    Node(kubectl).ready()?;
    product::ready(kubectl)?;
    for (namespace, _) in PAIRS {
        app::ready(kubectl, namespace)?;
    }
    let report = verified::works(kubectl, "life")?;
    stage.note(format!(
        "the node rebooted: {:.0} s until {} connections were verified",
        started.elapsed().as_secs_f64(),
        report.verified
    ));
    Ok(())
}

//! What happens to the node.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::super::Stage;
use super::PAIRS;
use crate::node::Node;
use crate::verified::Sizes;
use crate::{app, images, launch, product};

/// Something that happens to a node.
pub(super) struct Event {
    pub(super) what: &'static str,
    /// How long it may take, with what it takes to be over.
    pub(super) seconds: u64,
    /// Plain loses connections by it: as many may be lost with Sockway.
    pub(super) breaks: bool,
    pub(super) sizes: Sizes,
    pub(super) happen: fn(&Stage) -> Result<()>,
}

pub(super) const EVENTS: [Event; 13] = [
    Event {
        what: "server: rollout restart",
        seconds: 45,
        breaks: false,
        sizes: Sizes::Many,
        happen: |stage| both(stage, "rollout restart deployment/server"),
    },
    Event {
        what: "a server's pod deleted with grace",
        seconds: 20,
        breaks: false,
        sizes: Sizes::Many,
        happen: |stage| delete_one(stage, "--grace-period=8"),
    },
    Event {
        what: "a server's pod deleted without grace",
        seconds: 15,
        breaks: true,
        sizes: Sizes::Many,
        happen: |stage| delete_one(stage, "--grace-period=0 --force"),
    },
    Event {
        // Until it has probed them again its pods are not ready, and nobody is sent to them.
        what: "kubelet restarted",
        seconds: 20,
        breaks: true,
        sizes: Sizes::Many,
        happen: |stage| restart(stage, "kubelet"),
    },
    Event {
        what: "containerd restarted",
        seconds: 12,
        breaks: false,
        sizes: Sizes::Many,
        happen: |stage| restart(stage, "containerd"),
    },
    Event {
        what: "istiod restarted",
        seconds: 25,
        breaks: false,
        sizes: Sizes::Many,
        happen: istiod,
    },
    Event {
        what: "DaemonSet's pod killed with -9",
        seconds: 12,
        breaks: false,
        sizes: Sizes::Many,
        happen: killed,
    },
    Event {
        what: "DaemonSet's pod deleted",
        seconds: 15,
        breaks: false,
        sizes: Sizes::Many,
        happen: pod_deleted,
    },
    Event {
        what: "DaemonSet deleted, and installed again",
        seconds: 20,
        breaks: false,
        sizes: Sizes::Many,
        happen: set_deleted,
    },
    Event {
        what: "helm upgrade to another image",
        seconds: 20,
        breaks: false,
        sizes: Sizes::Many,
        happen: |stage| upgrade(stage, "next"),
    },
    Event {
        what: "helm upgrade back",
        seconds: 20,
        breaks: false,
        sizes: Sizes::Many,
        happen: |stage| upgrade(stage, ""),
    },
    Event {
        what: "pods come and go",
        seconds: 120,
        breaks: false,
        sizes: Sizes::Many,
        happen: crowd,
    },
    Event {
        what: "helm uninstall with connections open",
        seconds: 40,
        breaks: false,
        sizes: Sizes::Long,
        happen: uninstall,
    },
];

fn all_ready(stage: &Stage) -> Result<()> {
    for (namespace, _) in PAIRS {
        app::ready(stage.kubectl, namespace)?;
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
    all_ready(stage)
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
    all_ready(stage)
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
    let scale = |name: &str, count: u32| {
        kubectl
            .line(&format!(
                "-n life scale deployment/{name} --replicas={count}"
            ))
            .done()
    };
    // The kernel lets the user that all sidecars run as watch files for so many only.
    let (all, sidecars) = (stage.options.crowd, stage.options.crowd / 3);
    scale("crowd", sidecars)?;
    scale("bare", all - sidecars)?;
    app::ready(kubectl, "life")?;
    scale("crowd", 1)?;
    scale("bare", 1)?;
    app::ready(kubectl, "life")
}

fn uninstall(stage: &Stage) -> Result<()> {
    product::uninstall(stage.kubectl, Duration::from_secs(35))
}

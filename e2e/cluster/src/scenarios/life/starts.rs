//! Pods that start: while the keeper is away or is updated, where plugins cannot be
//! written, and how long it takes.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::super::Stage;
use super::metrics::{self, Totals};
use crate::kubectl::Kubectl;
use crate::run::until;
use crate::{app, images, product, verified};

const SOON: Duration = Duration::from_mins(1);
/// Pods of which one figure is made.
const PODS: u32 = 5;
/// Milliseconds that the plugin may add to a pod's network, on a busy machine too.
const MOST: f64 = 40.0;
const PLUGINS: &str = "/opt/cni/bin";

/// The binary stays and works by itself; the entry in the list too.
pub(super) fn without_keeper(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    kubectl
        .line("-n kube-system delete daemonset/sockway --wait=true")
        .done()?;
    let result = app::restart(kubectl, "life").and_then(|()| verified::works(kubectl, "life"));
    let called = starts(kubectl);
    product::install(kubectl, "")?;
    let (report, totals) = (result?, called?);
    stage.note(format!(
        "pods started without the DaemonSet: {} connections verified; network {:.1} ms a pod",
        report.verified,
        totals.network_ms()
    ));
    Ok(())
}

/// One image after the other while pods come.
pub(super) fn while_updated(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    images::tag(&kubectl.space, "next")?;
    let updating = {
        let kubectl = kubectl.clone();
        thread::spawn(move || -> Result<()> {
            for tag in ["next", "", "next", ""] {
                let further = match tag {
                    "" => String::new(),
                    tag => format!("--set image.tag={tag}"),
                };
                product::install(&kubectl, &further)?;
            }
            Ok(())
        })
    };
    let started = app::restart(kubectl, "life").and_then(|()| starts(kubectl));
    updating
        .join()
        .map_err(|_| anyhow::anyhow!("the thread that updates panicked"))??;
    let totals = started?;
    let report = verified::works(kubectl, "life")?;
    stage.note(format!(
        "pods started during four upgrades: {} connections verified; network {:.1} ms a pod",
        report.verified,
        totals.network_ms()
    ));
    Ok(())
}

/// The directory of plugins cannot be written: with ours in it pods take part as ever;
/// without, the entry leaves the list, pods start and are plain, until it can be written.
pub(super) fn read_only(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    let shell = |script: &str| kubectl.space.run("sh").args(["-c", script]).done();
    shell(&format!(
        "mount --bind {PLUGINS} {PLUGINS} && mount -o remount,bind,ro {PLUGINS}"
    ))?;
    let with_it = again(kubectl).and_then(|()| {
        product::ready(kubectl)?;
        app::restart(kubectl, "life")?;
        verified::works(kubectl, "life")
    });
    shell(&format!("umount {PLUGINS}"))?;
    stage.note(format!(
        "plugins' directory read only, with our plugin in it: ready, {} connections verified",
        with_it?.verified
    ));
    shell(&format!(
        "rm {PLUGINS}/sockway-cni && mount --bind {PLUGINS} {PLUGINS} && mount -o remount,bind,ro {PLUGINS}"
    ))?;
    let without = again(kubectl).and_then(|()| {
        until("the entry to leave the list", SOON, || {
            shell("! grep -q sockway-cni /etc/cni/net.d/*.conflist")
        })?;
        app::restart(kubectl, "life")?;
        verified::works(kubectl, "life")
    });
    shell(&format!("umount {PLUGINS}"))?;
    again(kubectl)?;
    product::ready(kubectl)?;
    shell(&format!(
        "test -x {PLUGINS}/sockway-cni && grep -q sockway-cni /etc/cni/net.d/*.conflist"
    ))
    .context("it is not put right")?;
    stage.note(format!(
        "plugins' directory read only, without our plugin: pods start, {} connections verified by TCP",
        without?.verified
    ));
    Ok(())
}

/// The keeper's container sees a mount that is there when it starts.
fn again(kubectl: &Kubectl) -> Result<()> {
    kubectl
        .line("-n kube-system delete pods -l app.kubernetes.io/component=node --wait=true")
        .done()
}

/// Pods from `kubectl run` to ready, with and without the plugin in the list.
pub(super) fn latency(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    let mut totals = [Vec::new(), Vec::new()];
    for round in 0..stage.options.rounds * 2 {
        let plain = round % 2 == 1;
        if plain {
            product::uninstall(kubectl, Duration::from_mins(2))?;
        }
        // The runtime has read the list.
        thread::sleep(Duration::from_secs(1));
        totals[usize::from(plain)].push(starts(kubectl)?);
        if plain {
            product::install(kubectl, "")?;
        }
    }
    let median = |of: fn(&Totals) -> f64, totals: &[Totals]| {
        let mut values: Vec<_> = totals.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let [with, plain] = &totals;
    for (what, of) in [
        (
            "network of a pod, by the runtime",
            Totals::network_ms as fn(&Totals) -> f64,
        ),
        ("sandbox of a pod, by the kubelet", Totals::sandbox_ms),
    ] {
        let (with, plain) = (median(of, with), median(of, plain));
        stage.note(format!(
            "{what}: {with:.1} ms, on plain {plain:.1} ms ({:+.1} ms)",
            with - plain
        ));
    }
    let added = median(Totals::network_ms, with) - median(Totals::network_ms, plain);
    ensure!(
        added < MOST,
        "the plugin adds {added:.1} ms to a pod's network"
    );
    Ok(())
}

/// Some pods, one after the other, and what runtime and kubelet counted for them.
fn starts(kubectl: &Kubectl) -> Result<Totals> {
    let before = metrics::totals(kubectl)?;
    for number in 0..PODS {
        kubectl
            .line(&format!("-n lifeplain run once{number} --image=sockway.local/pause:cluster --image-pull-policy=Never --labels=sidecar.istio.io/inject=false --annotations=sockway.io/scope=auto"))
            .done()?;
        kubectl
            .line(&format!(
                "-n lifeplain wait --for=condition=Ready pod/once{number} --timeout=60s"
            ))
            .done()?;
        kubectl
            .line(&format!(
                "-n lifeplain delete pod once{number} --grace-period=0 --force"
            ))
            .done()?;
    }
    Ok(metrics::totals(kubectl)?.since(before))
}

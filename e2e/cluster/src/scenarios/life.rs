//! A day in the life of a node, under verified traffic all the while: one pair of
//! pods with Sockway, one on plain beside it, and the same happens to both.

mod events;
mod metrics;
mod starts;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use self::events::{EVENTS, Event};
use super::Stage;
use crate::node::Node;
use crate::verified::{self, Report, Traffic};
use crate::{app, product};

/// Namespaces: with Sockway, and with scope `off`.
const PAIRS: [(&str, &str); 2] = [("life", "auto"), ("lifeplain", "off")];
/// Traffic goes on for so long before and after something happens.
const AROUND: Duration = Duration::from_secs(2);

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
    stage.part(
        "pods start while the keeper is away",
        starts::without_keeper,
    );
    stage.part(
        "pods start while the keeper is updated",
        starts::while_updated,
    );
    stage.part(
        "pods start while plugins cannot be written",
        starts::read_only,
    );
    stage.part("pod start latency", starts::latency);
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
        .map(|(namespace, _)| Traffic::start(kubectl, namespace, event.seconds, event.sizes))
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
    // What is cut off is cut off by chance: where nobody answers for a time, a batch
    // more or less falls into it.
    let allowed = if event.breaks {
        plain.faults() + verified::BATCH
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

//! Maps that are full: TCP and a counter, never an error.

use anyhow::{Context, Result, ensure};
use sockway_common::addr::IpKey;
use sockway_common::counters::Reason;
use sockway_common::layout::{MAX_PODS, PODS};
use sockway_common::pair::hop;
use sockway_common::pod::{MAX_IPS, OwnerKey, PodRow, SandboxRow};
use sockway_datapath::{Registry, stats};

use super::super::registration::{installed, pod, registered};
use super::super::{Case, Stage};
use super::census;
use crate::world::{Path, Traffic, World};

/// The fewest connections that `sockway install` takes; far below what is open at a time.
const FEW: &str = "16";

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    cases! {
        "faults/full_maps_of_connections": connections;
        "faults/full_map_of_pods": pods;
    }
}

/// `sockets` is full most of the time; rows of `pending` and `watched`
/// are evicted before they are read.
fn connections(stage: &Stage) -> Result<()> {
    let world = World::installed_with(&stage.tools, &["--max-connections", FEW])?;
    for family in 0..2 {
        let before = stats::read(&world.node.pins())?;
        let outcome = world.traffic(&Traffic {
            client: &["--max-size", "100000", "--concurrency", "96"],
            connections: 2000,
            ..Traffic::new(Path::ThroughBoth, family)
        })?;
        let now = stats::read(&world.node.pins())?;
        let of = |reason: Reason| now.left[reason as usize] - before.left[reason as usize];
        ensure!(
            of(Reason::NotInserted) > 0,
            "no connection found a map full: {}",
            outcome.hops
        );
        ensure!(
            outcome.hops.messages(hop::INBOUND) > 0,
            "none was accelerated where there was room: {}",
            outcome.hops
        );
        census::nothing_left(&world)?;
    }
    Ok(())
}

/// A pod that cannot be registered starts all the same, and leaves nothing.
fn pods(stage: &Stage) -> Result<()> {
    let node = installed(stage)?;
    let mut registry = Registry::open(&node.pins())?;
    let mut fillers = Vec::new();
    let mut next = 0_u32;
    while (next as usize) < MAX_PODS {
        let mut row = SandboxRow::default();
        let count = MAX_IPS.min(MAX_PODS - next as usize);
        row.ip_count = u32::try_from(count)?;
        for ip in &mut row.ips[..count] {
            *ip = IpKey::from_v4((0x0b00_0000 + next).to_be_bytes());
            next += 1;
        }
        let owner = OwnerKey::new(&format!("filler-{next}"), "eth0");
        registry.register(
            owner,
            &row,
            &PodRow {
                owner,
                ..PodRow::default()
            },
        )?;
        fillers.push(owner);
    }
    let pod = pod(&node).context("ADD with a full map")?;
    ensure!(registered(&node, &pod)? == 0, "there was room in {PODS}");
    node.del(&pod.netns).context("DEL with a full map")?;
    ensure!(
        registry.sandboxes()?.len() == fillers.len(),
        "a pod that was not registered left a row"
    );
    for owner in fillers {
        registry.unregister(&owner, &[])?;
    }
    let again = node.add(&node.make_netns("again")?)?;
    ensure!(registered(&node, &again)? == 2, "there is room again");
    node.del(&again.netns)?;
    ensure!(
        registry.pods()?.is_empty() && registry.sandboxes()?.is_empty(),
        "rows are left"
    );
    Ok(())
}

//! What is done to the node while traffic runs: no byte may be wrong, no
//! connection may be lost.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use sockway_datapath::Datapath;
use sockway_testkit::hops::MESH;

use super::check::succeeded;
use super::lifecycle::nothing_is_left;
use super::{Case, Stage};
use crate::world::{Path, Traffic, World};

/// How often something is done during one case's traffic.
const TIMES: u32 = 5;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(400);
/// Versions that follow each other under one case's traffic, and the time between two.
const UPGRADES: u32 = 20;
const BRIEF: Duration = Duration::from_millis(100);
/// Connections that last longer than the upgrades do.
const MANY: u32 = 90_000;

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "live/upgrades_in_mid_stream": upgrades;
        "live/detached_and_attached_in_mid_stream": detached;
        "live/uninstall_in_mid_stream": uninstall;
    }
}

/// Traffic that lasts as long as what is done meanwhile.
fn traffic() -> Traffic<'static> {
    let client = &["--max-size", "300000", "--concurrency", "32"];
    Traffic {
        connections: 3000,
        client,
        ..Traffic::new(Path::ThroughBoth, 0)
    }
}

/// `sockway install` again puts the programs anew behind the same maps.
fn upgrades(stage: &Stage) -> Result<()> {
    let world = stage.world()?;
    let traffic = Traffic {
        connections: MANY,
        ..traffic()
    };
    let outcome = world.traffic_with(&traffic, |client| {
        for upgrade in 1..=UPGRADES {
            sleep(BRIEF);
            world.node.install()?;
            client
                .still_runs()
                .with_context(|| format!("traffic at upgrade {upgrade} of {UPGRADES}"))?;
        }
        Ok(())
    })?;
    outcome.hops.redirected_on(&MESH)
}

/// Connections that are accelerated go on; new ones are plain, then accelerated again.
fn detached(stage: &Stage) -> Result<()> {
    let world = stage.world()?;
    let outcome = world.traffic_during(&traffic(), || {
        for _ in 0..TIMES {
            sleep(PAUSE);
            Datapath::detach(&world.node.pins())?;
            sleep(PAUSE);
            world.node.install()?;
        }
        Ok(())
    })?;
    outcome.hops.redirected_on(&MESH)
}

fn uninstall(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    world.traffic_during(&traffic(), || {
        sleep(PAUSE * 2);
        let ended = world
            .node
            .sockway(&["uninstall", "--drain-timeout", "60s"])
            .ended()?;
        succeeded(&ended)
            .map(drop)
            .context("uninstall under traffic")
    })?;
    nothing_is_left(&world.node)
}

//! SIGKILL of the installer, and many upgrades, with traffic running.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sockway_datapath::Datapath;
use sockway_testkit::hops::MESH;

use super::super::{Case, Stage};
use super::census;
use crate::world::{Outcome, Path, Traffic, World};

const UPGRADES: u32 = 20;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(50);
/// `install` is killed after these times, which end before, in and after its work.
const KILLED_AFTER: [u64; 10] = [5, 10, 20, 40, 60, 80, 120, 160, 200, 300];
/// `run` is killed once it has found its way and begun to keep the node.
const RUN_KILLED_AFTER: [u64; 3] = [100, 400, 900];

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    cases! {
        "faults/sigkill_of_install": install;
        "faults/sigkill_of_run": keeper;
        "faults/twenty_upgrades": upgrades;
        "faults/detached_in_mid_stream_leaves_no_rows": detached;
    }
}

/// Traffic that lasts as long as what is done meanwhile.
fn traffic(family: usize) -> Traffic<'static> {
    Traffic {
        connections: 3000,
        client: &["--max-size", "300000", "--concurrency", "32"],
        ..Traffic::new(Path::ThroughBoth, family)
    }
}

/// Bytes were redirected on every hop, the node is as it should be, and nothing is left.
fn well(world: &World, outcome: &Outcome) -> Result<()> {
    outcome.hops.redirected_on(&MESH)?;
    let status = world.node.status()?;
    ensure!(
        status["problems"].as_array().is_some_and(Vec::is_empty),
        "not well afterwards: {}",
        status["problems"]
    );
    census::nothing_left(world)
}

fn install(stage: &Stage) -> Result<()> {
    let world = stage.world()?;
    world.quiet()?;
    let outcome = world.traffic_during(&traffic(0), || {
        for milliseconds in KILLED_AFTER {
            // Every other one attaches anew, not in place.
            if milliseconds % 40 == 0 {
                Datapath::detach(&world.node.pins())?;
            }
            let install = world.node.sockway(&["install"]);
            install.killed_after(Duration::from_millis(milliseconds))?;
        }
        world.node.install().context("after all that").map(drop)
    })?;
    well(world, &outcome)
}

fn keeper(stage: &Stage) -> Result<()> {
    let world = stage.world()?;
    world.quiet()?;
    let outcome = world.traffic_during(&traffic(1), || {
        for milliseconds in RUN_KILLED_AFTER {
            let run = world.node.sockway(&["run", "--listen", "none"]);
            run.killed_after(Duration::from_millis(milliseconds))?;
        }
        Ok(())
    })?;
    well(world, &outcome)?;
    // Its lock went with it, or this would be refused.
    world.node.install().map(drop)
}

/// Another version each time: programs with other constants.
fn upgrades(stage: &Stage) -> Result<()> {
    let world = stage.world()?;
    world.quiet()?;
    let program = || Ok::<_, anyhow::Error>(world.node.status()?["datapath"]["program_id"].clone());
    let mut last = program()?;
    let outcome = world.traffic_during(&traffic(0), || {
        for upgrade in 0..UPGRADES {
            let limit = (1_048_576 - upgrade * 16_384).to_string();
            let args = ["install", "--backlog-limit", &limit];
            world.node.sockway(&args).done()?;
            let next = program()?;
            ensure!(next != last, "upgrade {upgrade} changed nothing");
            last = next;
            sleep(PAUSE);
        }
        world.node.install().map(drop)
    })?;
    well(world, &outcome)
}

/// Connections end while nobody sees it.
fn detached(stage: &Stage) -> Result<()> {
    let world = stage.world()?;
    world.quiet()?;
    let outcome = world.traffic_during(&traffic(1), || {
        for _ in 0..3 {
            sleep(PAUSE * 4);
            Datapath::detach(&world.node.pins())?;
            sleep(PAUSE * 4);
            world.node.install()?;
        }
        Ok(())
    })?;
    well(world, &outcome)
}

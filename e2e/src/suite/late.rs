//! Ends that come in late, under Envoys and verified traffic.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use sockway_common::end::EndRow;
use sockway_datapath::stats;
use sockway_testkit::mesh::keeper::Keeper;
use sockway_testkit::mesh::sidecar::Protocol;
use sockway_testkit::patience::until;

use super::{Case, Stage};
use crate::world::{Path, Traffic, World};

/// How often the keeper is killed, and after how long, so that it is at something else each time.
const KILLS: u32 = 20;
const STEP: Duration = Duration::from_millis(17);
/// Connections that last longer than that.
const MANY: u32 = 60_000;
/// Ends that are joined and closed are opened, or let out, within so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are opened at once and live on.
const LONG: &[&str] = &["--connections", "64", "--duration", "12000"];
/// From then on nearly all bytes are redirected, and for so long that is looked at.
const THIRD_SECOND: Duration = Duration::from_secs(3);
const WHILE: Duration = Duration::from_secs(2);
const GOES: u32 = 3;

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "late/a_cold_pool_is_redirected_from_the_third_second_on": cold;
        "late/keeper_killed_in_mid_stream": killed;
    }
}

/// Bytes that the interfaces of both pods received, and bytes that were redirected.
fn bytes(world: &World) -> Result<(u64, u64)> {
    let mut seen = 0;
    for pod in [&world.client, &world.server] {
        for interface in ["lo", "eth0"] {
            seen += pod.received_bytes(interface)?;
        }
    }
    Ok((
        seen,
        stats::read(&world.node.pins())?
            .redirected_bytes
            .iter()
            .sum(),
    ))
}

/// On a busy machine the keeper may not get its turn in time: one of three goes is enough.
fn cold(stage: &Stage) -> Result<()> {
    let mut tries = 1..=GOES;
    loop {
        let outcome = cold_once(stage);
        let last = tries.next() == Some(GOES);
        match outcome {
            Err(error) if !last => println!("once more: {error:#}"),
            outcome => return outcome,
        }
    }
}

/// Pods, listeners and addresses that were never seen before: what comes in late makes the difference.
fn cold_once(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    let keeper = Keeper::start(&world.node, &[])?;
    world.load_during(Protocol::Tcp, 0, LONG, || {
        sleep(THIRD_SECOND);
        let before = bytes(&world)?;
        sleep(WHILE);
        let after = bytes(&world)?;
        let (seen, redirected) = (after.0 - before.0, after.1 - before.1);
        ensure!(redirected > 0, "nothing was redirected");
        ensure!(
            seen * 19 <= redirected,
            "the interfaces saw {seen} bytes while {redirected} were redirected"
        );
        Ok(())
    })?;
    keeper.end()?;
    Ok(())
}

/// A keeper that dies between two steps leaves nothing held, and loses no byte.
fn killed(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    let client = &["--max-size", "200000", "--concurrency", "32"];
    let traffic = Traffic {
        connections: MANY,
        client,
        ..Traffic::new(Path::ThroughBoth, 0)
    };
    world.traffic_with(&traffic, |client| {
        for kill in 1..=KILLS {
            let keeper = Keeper::start(&world.node, &[])?;
            sleep(STEP * kill);
            keeper.kill();
            // A fast machine is through before the last of them.
            if let Err(error) = client.still_runs() {
                ensure!(kill > KILLS / 2, "{error:#} at kill {kill} of {KILLS}");
                break;
            }
        }
        let _keeper = Keeper::start(&world.node, &[])?;
        until(PATIENCE, || {
            let ends = stats::ends(&world.node.pins())?;
            let old = |(_, row): &(u64, EndRow)| row.joined != 0 && row.open == 0;
            let seen = || "ends stay joined and closed".to_owned();
            Ok((!ends.iter().any(old)).then_some(()).ok_or_else(seen))
        })
    })?;
    Ok(())
}

//! That bytes really go another way: the interfaces do not see them.

use anyhow::{Result, ensure};
use sockway_common::pair::hop;
use sockway_datapath::stats;
use sockway_testkit::mesh::keeper::Keeper;
use sockway_testkit::mesh::sidecar::Protocol;

use super::{Case, Stage};
use crate::world::{Path, Traffic, World};

/// Bytes of a request's payload.
const SIZE: u64 = 4096;

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "counters/interfaces_see_nothing_of_accelerated_traffic": interfaces;
        "counters/every_message_is_counted": messages;
        "counters/nothing_stays_in_the_maps": maps;
        "counters/status_agrees_with_the_maps": status;
    }
}

/// In a world of its own: in the shared one a case before may have shown an application that
/// blocks, which rightly stays on TCP.
fn interfaces(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    // Each worker of an Envoy listens by itself, and the warm-up may not come to all of them.
    let _keeper = Keeper::start(&world.node, &[])?;
    for family in 0..2 {
        let at = [
            (&world.client, "lo"),
            (&world.server, "lo"),
            (&world.server, "eth0"),
        ];
        let read = || {
            at.iter()
                .map(|(pod, name)| pod.received_bytes(name))
                .collect::<Result<Vec<_>>>()
        };
        let before = read()?;
        let (load, hops) = world.load(
            Protocol::Tcp,
            family,
            &["--size", &SIZE.to_string(), "--duration", "3000"],
        )?;
        ensure!(load.faults == 0, "{load}");
        let moved = load.requests * SIZE;
        for (((pod, name), before), after) in at.iter().zip(before).zip(read()?) {
            let seen = after - before;
            // Connection set-up, warm-up and the odd message by TCP: far below a tenth.
            ensure!(
                seen < moved / 10,
                "{name} of {} saw {seen} bytes while {moved} bytes of requests were moved: {hops}",
                pod.name
            );
        }
    }
    Ok(())
}

fn messages(stage: &Stage) -> Result<()> {
    let (load, hops) = stage.world()?.load(
        Protocol::Tcp,
        0,
        &["--duration", "1500", "--connections", "8"],
    )?;
    ensure!(load.faults == 0, "{load}");
    for kind in [hop::OUTBOUND, hop::INBOUND, hop::APP] {
        let hop = hops.get(kind)?;
        // Two messages a request, one each way; nearly all by redirection.
        ensure!(
            hop.messages * 10 > load.requests * 2 * 9,
            "{} requests, but {hops}",
            load.requests
        );
        ensure!(
            hop.bytes * 10 > load.requests * 2 * 1024 * 9,
            "{} requests, but {hops}",
            load.requests
        );
    }
    Ok(())
}

/// All connections ended: no socket and no row is left behind.
fn maps(stage: &Stage) -> Result<()> {
    let world = stage.world()?;
    world.traffic(&Traffic::new(Path::ThroughBoth, 0))?;
    world.quiet()?;
    let pins = world.node.pins();
    let sockets = stats::sockets(&pins)?;
    ensure!(
        sockets == 0,
        "{sockets} sockets in the sockhash after all connections ended"
    );
    let pending = stats::rows(&pins, sockway_common::layout::PENDING)?;
    ensure!(
        pending == 0,
        "{pending} rows of `pending` after all connections ended"
    );
    Ok(())
}

fn status(stage: &Stage) -> Result<()> {
    let world = stage.world()?;
    world.traffic(&Traffic::new(Path::ThroughBoth, 0))?;
    let status = world.node.status()?;
    let sums = stats::read(&world.node.pins())?;
    for (index, row) in status["figures"]["hops"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let joined = sums.paired.get(index + 1);
        ensure!(
            row["joined"].as_u64().as_ref() == joined,
            "{row} against {joined:?}"
        );
    }
    let pods = status["pods"].as_u64();
    ensure!(
        pods.is_some_and(|pods| pods >= 4),
        "status shows {pods:?} pods, there are 4"
    );
    ensure!(
        status["datapath"]["attached"] == true,
        "status does not say attached: {status}"
    );
    Ok(())
}

//! A pod deleted in mid-stream, its addresses given to another at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sockway_common::pair::hop;
use sockway_datapath::Datapath;
use sockway_testkit::traffic::report::Report;

use super::super::{Case, Stage};
use super::census;
use super::kills::{Seen, flowing};
use crate::world::{Path, Running, Traffic, World};

/// How long connections may take to end.
const LIMIT: Duration = Duration::from_secs(20);

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    cases! {
        "faults/pod_deleted_and_its_address_reused": reused;
    }
}

/// Connections that may be told nothing: whoever is killed with redirected bytes unread ends with a FIN, not
/// with a reset (docs/limits.md), which waits behind what was sent before, and goes with the pod.
const UNTOLD: u64 = 2;

fn reused(stage: &Stage) -> Result<()> {
    let mut world = World::new(&stage.tools)?;
    let accelerated = once(&mut world, true).context("accelerated")?;
    Datapath::detach(&world.node.pins())?;
    let plain = once(&mut world, false).context("plain")?;
    accelerated.compare(&plain.allowing(UNTOLD))?;
    world.node.install()?;
    census::nothing_left(&world)
}

/// The next pod's application is of another kind at the same address and port:
/// it blocks, and must not be taken for the one that did not.
fn once(world: &mut World, accelerated: bool) -> Result<Seen> {
    let Running {
        server,
        client,
        port,
        ..
    } = flowing(world, accelerated)?;
    let started = Instant::now();
    world.server.give_up_soon()?;
    server.kill()?;
    world.replace_server()?;
    let report = Report::in_output(&client.ended(LIMIT)?)?;
    census::ended(world, LIMIT)?;
    let seen = Seen::new(started.elapsed(), &[report])?;
    census::nothing_left(world).context("of the old pod")?;
    let outcome = world.traffic(&Traffic {
        port: Some(port),
        server: &["--blocking"],
        client: &["--concurrency", "32"],
        connections: 300,
        ..Traffic::new(Path::ThroughBoth, 0)
    })?;
    let redirected = |kind| outcome.hops.messages(kind);
    ensure!(
        redirected(hop::APP) == 0,
        "the new pod's application was taken for the old one's: {}",
        outcome.hops
    );
    ensure!(
        (redirected(hop::INBOUND) > 0) == accelerated,
        "the new pod's Envoy: {}",
        outcome.hops
    );
    census::nothing_left(world).context("of the new pod")?;
    Ok(seen)
}

//! Connections that are reset while they are being set up.

use std::time::Duration;

use anyhow::{Result, ensure};
use sockway_common::pair::hop;
use sockway_datapath::stats;
use sockway_testkit::mesh::pod::at;

use super::super::{Case, Stage};
use super::census;
use crate::world::{Path, Traffic};

/// How long a storm may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Nobody listens there; the Envoy in front of it accepts.
const PORT: u16 = 9999;
const CONNECTIONS: u64 = 3000;

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    cases! {
        "faults/connections_reset_in_their_handshake": storm;
    }
}

/// Beside verified traffic: rows of half-made connections must neither stay nor
/// lead anybody astray.
fn storm(stage: &Stage) -> Result<()> {
    let world = stage.world()?;
    world.quiet()?;
    for family in 0..2 {
        let inbound = hop::INBOUND as usize;
        let before = stats::read(&world.node.pins())?;
        let to = at(world.server.ips()[family], PORT);
        let count = CONNECTIONS.to_string();
        let args = ["traffic", "storm", "--to", &to, "--connections", &count];
        let traffic = Traffic {
            client: &["--max-size", "100000"],
            ..Traffic::new(Path::ThroughBoth, family)
        };
        world.traffic_during(&traffic, || {
            let name = format!("storm-{family}");
            let storm = world.plain_client.spawn(&world.node, &name, &args)?;
            storm.finish(LIMIT).map(drop)
        })?;
        let now = stats::read(&world.node.pins())?;
        let syns = now.syns[inbound] - before.syns[inbound];
        ensure!(
            syns >= CONNECTIONS,
            "only {syns} SYNs of {CONNECTIONS} seen"
        );
        census::nothing_left(world)?;
    }
    Ok(())
}

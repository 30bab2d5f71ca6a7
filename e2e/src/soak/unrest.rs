//! What goes on beside a soak's traffic: a keeper that brings ends in late, is killed and comes back, and a node
//! that is switched off and on, so that what is open leaves and comes in all the while.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sockway_testkit::mesh::keeper::Keeper;
use sockway_testkit::process::Process;

use crate::world::World;

/// Between two switches.
const PAUSE: Duration = Duration::from_millis(400);
/// A keeper lives so long.
const LIFE: Duration = Duration::from_secs(20);

/// The keeper, and what was done.
pub(super) struct Unrest {
    keeper: Option<Keeper>,
    since: Instant,
    switched: u64,
    killed: u64,
}

impl Unrest {
    /// Starts the keeper.
    pub(super) fn new(world: &World) -> Result<Self> {
        Ok(Self {
            keeper: Some(Keeper::start(&world.node, &[])?),
            since: Instant::now(),
            switched: 0,
            killed: 0,
        })
    }

    /// How often the node was switched off and on, and the keeper killed.
    pub(super) const fn done(&self) -> (u64, u64) {
        (self.switched, self.killed)
    }

    /// Goes on until the client has ended.
    pub(super) fn beside(&mut self, world: &World, client: &mut Process) -> Result<()> {
        while client.still_runs().is_ok() {
            if self.since.elapsed() > LIFE {
                if let Some(keeper) = self.keeper.take() {
                    keeper.kill();
                    self.killed += 1;
                }
                self.keeper = Some(Keeper::start(&world.node, &[])?);
                self.since = Instant::now();
            }
            self.switch(world).context("off and on")?;
            sleep(PAUSE);
        }
        Ok(())
    }

    /// A program that reads nothing now may hold its sockets: they are sent to by TCP then.
    fn switch(&mut self, world: &World) -> Result<()> {
        let off = ["off", "-o", "json", "--patience", "2"];
        let ended = world.node.sockway(&off).ended()?;
        let report: Value = serde_json::from_str(&ended.stdout)
            .with_context(|| format!("sockway off said {ended:?}"))?;
        ensure!(report["state"] == "off", "{report}");
        world.node.sockway(&["on"]).done()?;
        self.switched += 1;
        Ok(())
    }
}

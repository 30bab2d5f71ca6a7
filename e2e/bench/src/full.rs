//! Sockway with maps of the least size, which idle connections fill.

use anyhow::{Context, Result, ensure};
use sockway_common::counters::Reason;
use sockway_datapath::{Datapath, InstallOptions, Pins, Registry, stats};
use sockway_testkit::mesh::node::Node;
use sockway_testkit::process::Process;

use crate::crowd::{idle, know};
use crate::hop::Hop;

/// The fewest connections that `sockway install` takes.
const FEW: u32 = 16;
/// Enough to fill the maps, whatever learning takes.
const FILL: u32 = 8 * FEW;
/// Between which addresses the filling connections are.
const FILLERS: [&str; 2] = ["10.99.4.1", "10.99.2.1"];

/// Attached beside the node's own maps; gone on drop.
pub(crate) struct Full {
    pins: Pins,
    fill: Vec<Process>,
}

impl Full {
    /// Attaches it with the node's pods and fills its maps.
    pub(crate) fn attach(node: &Node, hop: &Hop) -> Result<Self> {
        for ip in FILLERS {
            know(node, hop, ip)?;
        }
        let pins = Pins::new(node.scratch.path("bpf").join("full"));
        let mut full = Self {
            pins: pins.clone(),
            fill: Vec::new(),
        };
        let mut options = InstallOptions::new(pins.clone(), node.scratch.cgroup());
        options.max_connections = FEW;
        Datapath::install(&options).context("install with small maps")?;
        let (mut here, own) = (Registry::open(&pins)?, Registry::open(&node.pins())?);
        for (ip, row) in own.pods()? {
            let sandbox = own.sandbox(&row.owner)?;
            let sandbox = sandbox.with_context(|| format!("{ip:?} has no attachment"))?;
            here.register(row.owner, &sandbox, &row)?;
        }
        full.fill.push(idle(node, hop, FILLERS, FILL)?);
        let held = stats::sockets(&pins)?;
        ensure!(
            full.refused()? > 0 && held == 2 * FEW as usize,
            "{FILL} connections did not fill the maps: {held} sockets"
        );
        Ok(full)
    }

    /// Where its maps are.
    pub(crate) const fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Connections that found a map full so far.
    pub(crate) fn refused(&self) -> Result<u64> {
        Ok(stats::read(&self.pins)?.left[Reason::NotInserted as usize])
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        self.fill.clear();
        if let Err(error) = Datapath::remove(&self.pins) {
            eprintln!("sockway-bench: {error}");
        }
    }
}

//! Who is switched off, and leaves the sockhash.

use std::collections::HashSet;

use aya::maps::{HashMap as Rows, MapData};
use sockway_common::addr::IpKey;
use sockway_common::end::EndRow;
use sockway_common::scope;

use crate::{Error, Pins, Registry, switch};

/// The node, or pods, as of one look.
#[derive(Debug, Default)]
pub(super) struct Off {
    node: bool,
    pods: HashSet<IpKey>,
}

impl Off {
    /// As it is now.
    pub(super) fn read(pins: &Pins) -> Result<Self, Error> {
        let pods = Registry::open(pins)?.pods()?.into_iter();
        let off = pods.filter(|(_, row)| row.scope == scope::OFF);
        Ok(Self {
            node: switch::is_off(pins)?,
            pods: off.map(|(ip, _)| ip).collect(),
        })
    }

    /// Whether nothing is redirected between an end and the other one: either's pod is off.
    pub(super) fn holds(&self, row: &EndRow, ends: &Rows<MapData, u64, EndRow>) -> bool {
        let is_off = |row: &EndRow| self.pods.contains(&row.pod);
        self.node
            || !self.pods.is_empty()
                && (is_off(row) || ends.get(&row.peer, 0).is_ok_and(|peer| is_off(&peer)))
    }
}

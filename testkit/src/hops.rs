//! What the datapath counted between two moments.

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use sockway_common::counters::Stats;
use sockway_common::pair::hop;
use sockway_datapath::{Pins, stats};

/// The hops of a request through two sidecars, in its order, then the detour of
/// a pod that calls itself.
const HOPS: [u32; 4] = [hop::OUTBOUND, hop::INBOUND, hop::APP, hop::SELF_INBOUND];

/// The hops of a request through two sidecars.
pub const MESH: [u32; 3] = [hop::OUTBOUND, hop::INBOUND, hop::APP];

/// Sums of one moment.
#[derive(Clone, Debug, Default)]
pub struct Figures(Stats);

/// One hop between two moments.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hop {
    /// Its name.
    pub name: String,
    /// Connections with both ends on this node.
    pub local: u64,
    /// Those of them that were joined.
    pub joined: u64,
    /// Messages redirected.
    pub messages: u64,
    /// Bytes redirected.
    pub bytes: u64,
}

impl Hop {
    /// Share of connections that were joined, 0 to 1.
    pub fn share(&self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of one run are far below 2^52"
        )]
        let share = self.joined as f64 / self.local.max(1) as f64;
        share
    }
}

/// All hops between two moments.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hops(pub Vec<Hop>);

impl Figures {
    /// Now.
    pub fn read(pins: &Pins) -> Result<Self> {
        Ok(Self(stats::read(pins)?))
    }

    /// What was counted since `before`.
    pub fn since(&self, before: &Self) -> Hops {
        let (Self(now), Self(then)) = (self, before);
        let hop = |kind: u32| {
            let index = kind as usize;
            let grown = |of: fn(&Stats) -> &[u64; hop::COUNT]| of(now)[index] - of(then)[index];
            let both = |of: fn(&Stats) -> &[u64; hop::DIRECTIONS]| {
                let sum = |stats| of(stats)[2 * index] + of(stats)[2 * index + 1];
                sum(now) - sum(then)
            };
            Hop {
                name: hop::name(kind).to_owned(),
                local: grown(|stats| &stats.local).max(grown(|stats| &stats.paired)),
                joined: grown(|stats| &stats.paired),
                messages: both(|stats| &stats.redirected_messages),
                bytes: both(|stats| &stats.redirected_bytes),
            }
        };
        Hops(HOPS.into_iter().map(hop).collect())
    }
}

impl Hops {
    /// Messages that were redirected on one of them.
    pub fn messages(&self, kind: u32) -> u64 {
        self.get(kind).map_or(0, |hop| hop.messages)
    }

    /// An error where nothing was redirected on some of them.
    pub fn redirected_on(&self, kinds: &[u32]) -> Result<()> {
        for kind in kinds {
            let name = hop::name(*kind);
            ensure!(
                self.messages(*kind) > 0,
                "nothing was redirected on hop {name}: {self}"
            );
        }
        Ok(())
    }

    /// One of them; an error where it is not among them.
    pub fn get(&self, kind: u32) -> Result<&Hop> {
        let name = hop::name(kind);
        let hop = self.0.iter().find(|hop| hop.name == name);
        hop.with_context(|| format!("no hop {name}: {self}"))
    }
}

impl fmt::Display for Hops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hops = self.0.iter().filter(|hop| hop.local > 0).map(|hop| {
            let share = 100.0 * hop.share();
            format!(
                "{} {}/{} joined ({share:.0} %), {} MiB",
                hop.name,
                hop.joined,
                hop.local,
                hop.bytes >> 20
            )
        });
        f.write_str(&hops.collect::<Vec<_>>().join("; "))
    }
}

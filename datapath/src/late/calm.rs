//! Whether anything has happened since a pass that found nothing to do: then another finds nothing either.
//!
//! A pass looks at every row of `ends`, which takes 10 ms with 10 000 connections (Linux 6.18, most of it the
//! walk over the map's 262 144 buckets). What it looks for comes with a new connection, with what becomes known of a
//! program, or with a growth of [`EPOCH`].

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use aya::maps::MapData;
use aya::maps::array::Array;
use sockway_common::counters::Stats;
use sockway_common::program::{ProgramKey, ProgramRow};
use sockway_common::signal::EPOCH;

use crate::stats;
use crate::{Error, Pins, switch};

/// How long nothing is looked at, be it as calm as it may: events can be lost, and others may write.
const LONGEST: Duration = Duration::from_secs(10);

/// How things were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    epoch: u64,
    connections: u64,
    programs: u64,
}

impl Mark {
    /// As they are now, with what is `known` of programs, in any order.
    pub(super) fn of(pins: &Pins, known: &[(ProgramKey, ProgramRow)]) -> Result<Self, Error> {
        let signals: Array<MapData, u64> = switch::signals(pins)?;
        let epoch = switch::read(&signals, EPOCH)?;
        let mut programs: u64 = 0;
        for row in known {
            let mut hasher = DefaultHasher::new();
            row.hash(&mut hasher);
            programs = programs.wrapping_add(hasher.finish());
        }
        Ok(Self {
            epoch,
            connections: connections(&stats::read(pins)?),
            programs,
        })
    }
}

/// What counts connections that come and go, and nothing of what they carry.
fn connections(stats: &Stats) -> u64 {
    let Stats {
        syns,
        local,
        paired,
        joined,
        joined_late,
        left_early,
        left,
        closed,
        ..
    } = stats;
    let hops = [syns, local, paired, joined, joined_late];
    let hops = hops.into_iter().flatten().chain(left);
    // Each only grows, so the sum stays only where all do.
    hops.chain([left_early, closed])
        .fold(0, |sum, count| sum.wrapping_add(*count))
}

/// The last pass that found nothing to do.
#[derive(Debug, Default)]
pub(super) struct Calm(Option<(Instant, Mark)>);

impl Calm {
    /// A pass found something (`None`), or nothing since this mark.
    pub(super) fn note(&mut self, mark: Option<Mark>) {
        self.0 = mark.map(|mark| (Instant::now(), mark));
    }

    /// Whether it is as then. `longest`: for how long that may be believed, if for less than usual.
    pub(super) fn holds(&self, pins: &Pins, longest: Option<Duration>) -> Result<bool, Error> {
        let longest = longest.map_or(LONGEST, |longest| longest.min(LONGEST));
        match &self.0 {
            Some((since, mark)) if since.elapsed() < longest => {
                Ok(Mark::of(pins, &stats::programs(pins)?)? == *mark)
            }
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::connections;
    use sockway_common::counters::Stats;

    #[test]
    fn bytes_disturb_nobody_and_connections_do() {
        let mut stats = Stats::default();
        let before = connections(&stats);
        stats.redirected_bytes[0] = 1;
        stats.tcp_messages[0] = 1;
        stats.resumed = 1;
        assert_eq!(connections(&stats), before);
        for change in [
            |s: &mut Stats| s.syns[1] += 1,
            |s: &mut Stats| s.left[0] += 1,
            |s: &mut Stats| s.closed += 1,
        ] {
            let before = connections(&stats);
            change(&mut stats);
            assert_ne!(connections(&stats), before);
        }
    }
}

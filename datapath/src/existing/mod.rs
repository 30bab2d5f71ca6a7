//! Bringing in connections that were open before the programs were attached.
//!
//! 1. An iterator tells of every established socket of the namespaces. Two
//!    whose sequence numbers are each other's, or near it and their ports too, may be one
//!    connection; it must be seen so twice, and nothing else may be seen of either.
//! 2. Where a registered pod and the rules of its scope say so, both are put into
//!    the sockhash, *held* on TCP: each at a moment when its numbers are exactly those of the
//!    other, as the kernel sees both. Those of an application of which not enough is known are
//!    watched on TCP instead.
//! 3. When every thread that holds them was seen at rest in another call since,
//!    they are opened: from then on rule 1 decides send by send.
//!
//! What cannot be brought in stays on TCP as it was. A run that is killed leaves
//! held sockets, which stay on TCP until the next run opens them.

mod fields;
mod find;
mod iterate;
mod numbers;
mod pairs;
mod quiet;
mod run;
#[cfg(test)]
mod tests;
pub(crate) mod turn;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::time::Duration;

use sockway_common::counters::Reason;
use sockway_common::existing::{Fields, Seen, step};

use crate::{Datapath, Error, Pins, attach};
use pairs::Pair;
use quiet::Holders;
use run::Run;
use turn::Turn;

/// Why a connection is left whose two ends were not found.
const UNPAIRED: &str = "unpaired";

/// How long [`join`] waits for the threads of applications by default.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// What [`join`] did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Joined {
    /// Established sockets that were looked at.
    pub sockets: usize,
    /// Connections of registered pods whose two ends were found.
    pub found: usize,
    /// Connections that were brought in.
    pub paired: usize,
    /// Connections that stay on TCP, by why: a [`Reason`]'s name, `in-call` (a thread
    /// could not be seen outside its calls), or `unpaired` (bytes are under way, or an end
    /// is elsewhere).
    pub left: BTreeMap<&'static str, usize>,
}

impl Joined {
    fn leave(&mut self, why: &'static str, count: usize) {
        if count != 0 {
            *self.left.entry(why).or_default() += count;
        }
    }
}

/// What the iterators need of this kernel.
///
/// # Errors
///
/// [`Error::Existing`] where it cannot do it, which says why; [`Error::Btf`].
pub fn fields() -> Result<Fields, Error> {
    fields::find(None)
}

/// Brings in what can be paired among the sockets of `namespaces`, which are open
/// files of network namespaces.
///
/// # Errors
///
/// [`Error::Existing`] where this kernel or place cannot do it, [`Error::NotInstalled`],
/// [`Error::Busy`] where other processes are at it for long, and what loading programs and reading maps may fail with.
/// Connections are never worse off than before.
pub fn join(pins: &Pins, namespaces: &[File], patience: Duration) -> Result<Joined, Error> {
    if Datapath::EMBEDDED_IS_STUB {
        return Err(Error::Stub);
    }
    attach::status(pins)?;
    quiet::require_sight()?;
    let _turn = Turn::take(pins)?;
    if attach::is_detached(pins) {
        return Err(Error::existing("no connections are taken in any more"));
    }
    let mut run = Run::new(pins, namespaces)?;
    let mut joined = Joined::default();
    let found = run.find(&mut joined)?;
    let (mut watched, mut held): (Vec<_>, Vec<_>) = found.into_iter().partition(|p| p.observe);
    joined.leave(Reason::Observed.name(), watched.len());
    watched.retain(|pair| !pair.is_watched());
    let inodes = inodes(&held);
    let mut holders = Holders::default();
    holders.add(&inodes);
    let refused = run.hold(&held)?;
    watched.extend(retain(&mut held, &refused, &mut joined));
    holders.add(&inodes);
    let quiet = holders.quiet(patience);
    let rests = |seen: &Seen| quiet.contains(&seen.inode);
    let (quiet, busy): (Vec<_>, Vec<_>) = held
        .into_iter()
        .partition(|pair| rests(&pair.active) && rests(&pair.passive));
    joined.leave("in-call", busy.len());
    watched.extend(busy);
    let mut opened = quiet;
    let refused = run.step(&opened, step::OPEN)?;
    retain(&mut opened, &refused, &mut joined);
    joined.paired = opened.len();
    // As they were, but seen; what was refused there is gone, or was joined meanwhile.
    run.step(&watched, step::WATCH)?;
    Ok(joined)
}

fn inodes(pairs: &[Pair]) -> HashSet<u64> {
    pairs
        .iter()
        .flat_map(|pair| [pair.active.inode, pair.passive.inode])
        .filter(|&inode| inode != 0)
        .collect()
}

/// Keeps the pairs of which no end was refused; those that were.
fn retain(
    pairs: &mut Vec<Pair>,
    refused: &HashMap<u64, &'static str>,
    joined: &mut Joined,
) -> Vec<Pair> {
    let why = |pair: &mut Pair| {
        let cookies = pair.cookies();
        cookies
            .iter()
            .find_map(|cookie| refused.get(cookie))
            .copied()
    };
    let gone = pairs.extract_if(.., |pair| {
        why(pair).inspect(|why| joined.leave(why, 1)).is_some()
    });
    gone.collect()
}

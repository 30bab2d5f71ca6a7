//! Connections that are older than the programs: their ends get rows, and are watched from then
//! on as those of any other connection.
//!
//! No callback tells of their end, so their rows are taken out here too, by a look at those sockets alone.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use aya::maps::{HashMap as Rows, Map, MapError};
use sockway_common::end::{ADOPTED, EndRow};
use sockway_common::layout::ENDS;
use sockway_common::order::{DONE, seen, what};

use super::order::{self, Runner};
use super::pairs::{End, Pair, Policy};
use super::sockets::{Established, Sockets};
use super::{Namespaces, numbers};
use crate::stats::{self, map_error, open};
use crate::sweep::remove;
use crate::{Error, Pins, Registry};

/// `BPF_NOEXIST`.
const NO_EXIST: u64 = 1;

/// What [`super::Late::adopt`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adopted {
    /// Established sockets without a row that were looked at.
    pub sockets: usize,
    /// Connections whose ends are watched from now on.
    pub found: usize,
    /// Accepted ends of registered pods whose other end was not found: it is elsewhere, or bytes
    /// are under way.
    pub unpaired: usize,
}

pub(super) fn run(
    pins: &Pins,
    runner: &Runner,
    namespaces: Namespaces<'_>,
) -> Result<Adopted, Error> {
    let registry = Registry::open(pins)?;
    let policy = Policy {
        pods: registry.pods()?.into_iter().collect(),
    };
    let sandboxes = registry.sandboxes()?.into_iter();
    let files = namespaces(&sandboxes.map(|(_, row)| row.netns_inode).collect());
    let mut known = HashSet::new();
    stats::each_end(pins, |cookie, _| {
        known.insert(cookie);
    })?;
    let ends = order::inside(|| {
        let mut ends = Vec::new();
        for file in &files {
            order::enter(file)?;
            let place = file.metadata().map_or(0, |m| m.ino());
            look(runner, place, &known, &mut ends)?;
        }
        Ok(ends)
    })?;
    drop((files, known));
    let mut adopted = Adopted {
        sockets: ends.len(),
        ..Adopted::default()
    };
    let free: Vec<End> = ends
        .iter()
        .filter(|end| end.seen.seen & seen::KNOWN == 0)
        .copied()
        .collect();
    let pairs = numbers::pairs(&free, &policy);
    adopted.unpaired = free
        .iter()
        .filter(|end| policy.hop(&end.seen).is_some())
        .count()
        .saturating_sub(pairs.len());
    for pair in &pairs {
        adopted.found += usize::from(adopt(pins, runner, namespaces, pair)?);
    }
    Ok(adopted)
}

/// Looks at every established socket of the namespace that this thread is in and that has no row: a look
/// costs four times what being listed does.
fn look(
    runner: &Runner,
    place: u64,
    known: &HashSet<u64>,
    ends: &mut Vec<End>,
) -> Result<(), Error> {
    let sockets = Sockets::list()?;
    let mut new = sockets.established;
    new.retain(|socket| !known.contains(&socket.cookie));
    for Established { local, remote, .. } in new {
        let mut seen = order::by_tuple(what::LOOK, local, remote);
        runner.run(&mut seen)?;
        if seen.result == DONE && seen.cookie != 0 && seen.seen & seen::ESTABLISHED != 0 {
            let listener = sockets.listening.get(&local.1).copied().unwrap_or(0);
            ends.push(End {
                place,
                listener,
                seen,
            });
        }
    }
    Ok(())
}

/// Makes both ends' rows and states; false where one has ended meanwhile.
fn adopt(
    pins: &Pins,
    runner: &Runner,
    namespaces: Namespaces<'_>,
    pair: &Pair,
) -> Result<bool, Error> {
    let map = Map::HashMap(open(pins, ENDS)?);
    let mut map = Rows::<_, u64, EndRow>::try_from(map).map_err(map_error(ENDS, "open"))?;
    let rows = pair.rows();
    for (cookie, row) in &rows {
        match map.insert(cookie, row, NO_EXIST) {
            Ok(()) => {}
            Err(MapError::SyscallError(_)) => return Ok(false),
            Err(source) => return Err(map_error(ENDS, "write a row")(source)),
        }
    }
    let orders = rows.map(|(cookie, row)| (row.netns, order::of(what::TRACK, cookie, &row)));
    let answers = runner.run_in(namespaces, orders.to_vec())?;
    let done = answers.len() == rows.len() && answers.iter().all(|a| a.result == DONE);
    if !done {
        remove::<u64, EndRow>(pins, ENDS, Map::HashMap, rows.map(|(cookie, _)| cookie))?;
    }
    Ok(done)
}

/// Takes out rows of adopted ends that have ended, of which no callback tells. How many, and how
/// many there still are.
pub(super) fn forget(
    pins: &Pins,
    runner: &Runner,
    namespaces: Namespaces<'_>,
) -> Result<(usize, usize), Error> {
    let mut rows = HashMap::new();
    stats::each_end(pins, |cookie, row| {
        if row.role & ADOPTED != 0 {
            rows.insert(cookie, row);
        }
    })?;
    let files = namespaces(&rows.values().map(|row| u64::from(row.netns)).collect());
    let inode = |file: &File| file.metadata().ok().map(|m| m.ino());
    let places: HashSet<u64> = files.iter().filter_map(inode).collect();
    let copies = |_: &HashSet<u64>| {
        files
            .iter()
            .filter_map(|file| file.try_clone().ok())
            .collect()
    };
    let looks = rows
        .iter()
        .map(|(&cookie, row)| (row.netns, order::of(what::LOOK, cookie, row)));
    let answers = runner.run_in(&copies, looks.collect())?;
    // One that is closed in one direction is there too, until its program gives it up.
    let there: HashSet<u64> = answers
        .iter()
        .filter(|a| a.result == DONE && (a.seen & seen::ESTABLISHED != 0 || a.inode != 0))
        .map(|answer| answer.cookie)
        .collect();
    let ended: Vec<u64> = rows
        .iter()
        // Where its namespace is not to be had, nothing is known of one that was brought in.
        .filter(|(cookie, row)| {
            !there.contains(cookie) && (row.joined == 0 || places.contains(&u64::from(row.netns)))
        })
        .map(|(&cookie, _)| cookie)
        .collect();
    let left = rows.len() - ended.len();
    Ok((
        remove::<u64, EndRow>(pins, ENDS, Map::HashMap, ended)?,
        left,
    ))
}

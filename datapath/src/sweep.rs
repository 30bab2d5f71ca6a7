//! Taking out rows of connections that ended while nobody could see it.
//!
//! The programs take out a connection's rows when it ends. They cannot where
//! they were not attached at that moment, and nothing tells them of a
//! handshake that is never completed. The maps evict their oldest rows by
//! themselves, so such rows do no harm; here they are not left lying either.

use std::collections::HashSet;
use std::hash::Hash;
use std::io;

use aya::Pod;
use aya::maps::{HashMap, Map, MapData, MapError};
use sockway_common::end::EndRow;
use sockway_common::layout::{ENDS, PENDING};
use sockway_common::pair::{PendingRow, SeqKey};

use crate::stats::{list, map_error, open};
use crate::{Error, Pins, stats};

/// The rows that connections had before programs were attached.
#[derive(Debug)]
pub(crate) struct Before {
    pending: HashSet<SeqKey>,
    ends: HashSet<u64>,
}

impl Before {
    /// To be called while no program is attached.
    pub(crate) fn list(pins: &Pins) -> Result<Self, Error> {
        let ends = list::<u64, EndRow>(pins, ENDS)?;
        // After the rows: who comes in meanwhile is among these.
        let sockets = stats::cookies(pins)?;
        Ok(Self {
            pending: keys::<_, PendingRow>(pins, PENDING)?,
            ends: ends
                .into_iter()
                .filter(|(cookie, row)| row.joined == 0 || !sockets.contains(cookie))
                .map(|(cookie, _)| cookie)
                .collect(),
        })
    }

    /// To be called once programs are attached: what still ends is seen by them.
    ///
    /// Handshakes that were under way go by TCP. Of ends those stay that are in the sockhash, which
    /// the kernel takes them out of when they end; the others
    /// may have ended meanwhile, and those that have not are found anew as connections that
    /// are older than the programs.
    pub(crate) fn sweep(self, pins: &Pins) -> Result<usize, Error> {
        let Self { pending, ends } = self;
        let taken = remove::<_, PendingRow>(pins, PENDING, Map::LruHashMap, pending)?;
        Ok(taken + remove::<_, EndRow>(pins, ENDS, Map::HashMap, ends)?)
    }
}

/// Takes out, at each turn, the handshakes that have been there since the last one.
#[derive(Debug, Default)]
pub struct Handshakes {
    seen: HashSet<SeqKey>,
}

impl Handshakes {
    /// To be called at intervals far above the longest handshake (two minutes); how many were taken out.
    ///
    /// # Errors
    ///
    /// As for opening, reading and writing a pinned map.
    pub fn turn(&mut self, pins: &Pins) -> Result<usize, Error> {
        let now = keys::<_, PendingRow>(pins, PENDING)?;
        let stale: Vec<SeqKey> = now.intersection(&self.seen).copied().collect();
        let taken = remove::<_, PendingRow>(pins, PENDING, Map::LruHashMap, stale)?;
        self.seen = now;
        Ok(taken)
    }
}

fn keys<K: Pod + Eq + Hash, V: Pod>(pins: &Pins, name: &'static str) -> Result<HashSet<K>, Error> {
    Ok(list::<K, V>(pins, name)?
        .into_iter()
        .map(|(key, _)| key)
        .collect())
}

/// How many of the rows were still there.
pub(crate) fn remove<K: Pod, V: Pod>(
    pins: &Pins,
    name: &'static str,
    kind: fn(MapData) -> Map,
    keys: impl IntoIterator<Item = K>,
) -> Result<usize, Error> {
    let map = kind(open(pins, name)?);
    let mut map = HashMap::<_, K, V>::try_from(map).map_err(map_error(name, "open"))?;
    let mut removed = 0;
    for key in keys {
        match map.remove(&key) {
            Ok(()) => removed += 1,
            Err(MapError::KeyNotFound) => {}
            Err(MapError::SyscallError(e)) if e.io_error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(map_error(name, "take a row out")(source)),
        }
    }
    Ok(removed)
}

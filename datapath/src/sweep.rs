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
use aya::maps::{HashMap, Map, MapData, MapError, SockHash};
use sockway_common::layout::{PENDING, SOCKETS, WATCHED};
use sockway_common::pair::{PendingRow, ReaderKey, SeqKey};

use crate::stats::{map_error, open};
use crate::{Error, Pins};

/// The rows that connections had before programs were attached.
#[derive(Debug)]
pub(crate) struct Before {
    pending: HashSet<SeqKey>,
    watched: HashSet<u64>,
}

impl Before {
    /// To be called while no program is attached.
    pub(crate) fn list(pins: &Pins) -> Result<Self, Error> {
        Ok(Self {
            pending: keys::<_, PendingRow>(&lru(pins, PENDING)?, PENDING)?,
            watched: keys::<_, ReaderKey>(&lru(pins, WATCHED)?, WATCHED)?,
        })
    }

    /// To be called once programs are attached: what still ends is seen by them.
    ///
    /// Handshakes that were under way go by TCP. Of watched sockets those stay
    /// that are joined; one that was only observed is not any more, and its
    /// address learns from the next connection.
    pub(crate) fn sweep(self, pins: &Pins) -> Result<usize, Error> {
        let Self { pending, watched } = self;
        let joined = joined(pins)?;
        let dead: Vec<_> = watched.difference(&joined).copied().collect();
        Ok(forget(pins, &pending, &joined)? + remove::<_, ReaderKey>(pins, WATCHED, dead)?)
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
        let now = keys::<_, PendingRow>(&lru(pins, PENDING)?, PENDING)?;
        let stale = now.intersection(&self.seen).copied().collect();
        let taken = forget(pins, &stale, &joined(pins)?)?;
        self.seen = now;
        Ok(taken)
    }
}

/// Takes rows of `pending` out, but not those from which a joined socket will learn its other end.
fn forget(pins: &Pins, rows: &HashSet<SeqKey>, joined: &HashSet<u64>) -> Result<usize, Error> {
    let map = lru::<SeqKey, PendingRow>(pins, PENDING)?;
    let waits = |key| {
        let row = map.get(key, 0);
        row.is_ok_and(|row| joined.contains(&row.active_cookie))
    };
    let stale: Vec<_> = rows.iter().filter(|key| !waits(key)).copied().collect();
    remove::<_, PendingRow>(pins, PENDING, stale)
}

fn joined(pins: &Pins) -> Result<HashSet<u64>, Error> {
    let map = SockHash::<_, u64>::try_from(Map::SockHash(open(pins, SOCKETS)?))
        .map_err(map_error(SOCKETS, "open"))?;
    map.keys()
        .collect::<Result<_, _>>()
        .map_err(map_error(SOCKETS, "list"))
}

fn lru<K: Pod, V: Pod>(pins: &Pins, name: &'static str) -> Result<HashMap<MapData, K, V>, Error> {
    HashMap::try_from(Map::LruHashMap(open(pins, name)?)).map_err(map_error(name, "open"))
}

fn keys<K: Pod + Eq + Hash, V: Pod>(
    map: &HashMap<MapData, K, V>,
    name: &'static str,
) -> Result<HashSet<K>, Error> {
    map.keys()
        .collect::<Result<_, _>>()
        .map_err(map_error(name, "list"))
}

/// How many of the rows were still there.
fn remove<K: Pod, V: Pod>(
    pins: &Pins,
    name: &'static str,
    keys: impl IntoIterator<Item = K>,
) -> Result<usize, Error> {
    let mut map = lru::<K, V>(pins, name)?;
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

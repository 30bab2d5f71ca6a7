//! Reading what the programs counted.

use std::collections::HashMap as Rows;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::Pod;
use aya::maps::{Map, MapData, MapError, PerCpuArray, PerCpuHashMap};
use sockway_common::addr::IpKey;
use sockway_common::counters::Stats;
use sockway_common::layout;
use sockway_common::pair::ReaderKey;
use sockway_common::pod::PodStats;
use sockway_common::reader::ReaderRow;

use crate::{Error, Pins};

/// Opens a pinned map; a missing pin says why it is missing.
///
/// # Errors
///
/// [`Error::NotInstalled`], [`Error::OtherLayout`], [`Error::Permission`] or [`Error::Map`].
pub(crate) fn open(pins: &Pins, name: &'static str) -> Result<MapData, Error> {
    let path = pins.map(name);
    MapData::from_pin(&path).map_err(|source| {
        let kind = match &source {
            MapError::SyscallError(e)
            | MapError::PinError {
                error: aya::pin::PinError::SyscallError(e),
                ..
            } => e.io_error.kind(),
            _ => io::ErrorKind::Other,
        };
        match kind {
            io::ErrorKind::NotFound => pins.missing(name),
            io::ErrorKind::PermissionDenied => Error::Permission {
                what: format!("open {}", path.display()),
            },
            _ => Error::Map {
                name,
                op: "open",
                source,
            },
        }
    })
}

pub(crate) fn map_error(name: &'static str, op: &'static str) -> impl Fn(MapError) -> Error {
    move |source| Error::Map { name, op, source }
}

/// Sums over all CPUs since the maps were made.
///
/// # Errors
///
/// As for opening and reading a pinned map.
pub fn read(pins: &Pins) -> Result<Stats, Error> {
    let map = Map::PerCpuArray(open(pins, layout::STATS)?);
    let array = PerCpuArray::<_, Stats>::try_from(map).map_err(map_error(layout::STATS, "open"))?;
    let values = array.get(&0, 0).map_err(map_error(layout::STATS, "read"))?;
    let mut sum = Stats::default();
    for cpu in values.iter() {
        sum.add(cpu);
    }
    Ok(sum)
}

/// Sums by pod over all CPUs. Rows of pods long gone may remain until they are evicted.
///
/// # Errors
///
/// As for opening and reading a pinned map.
pub fn pods(pins: &Pins) -> Result<Vec<(IpKey, PodStats)>, Error> {
    let name = layout::POD_STATS;
    let map = Map::PerCpuLruHashMap(open(pins, name)?);
    let hash =
        PerCpuHashMap::<_, IpKey, PodStats>::try_from(map).map_err(map_error(name, "open"))?;
    let mut rows = Rows::new();
    for row in &hash {
        let (ip, values) = row.map_err(map_error(name, "read"))?;
        let sum: &mut PodStats = rows.entry(ip).or_default();
        for cpu in values.iter() {
            sum.add(cpu);
        }
    }
    Ok(rows.into_iter().collect())
}

/// Forgets the sums of a pod; none is no error.
pub(crate) fn forget_pod(pins: &Pins, ip: &IpKey) -> Result<(), Error> {
    let name = layout::POD_STATS;
    let map = Map::PerCpuLruHashMap(open(pins, name)?);
    let mut hash =
        PerCpuHashMap::<_, IpKey, PodStats>::try_from(map).map_err(map_error(name, "open"))?;
    match hash.remove(ip) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        // aya tells a missing row of a per-CPU map by the errno only.
        Err(MapError::SyscallError(e)) if e.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Map {
            name,
            op: "remove a row",
            source,
        }),
    }
}

/// How many rows a map can hold: what the first install made it for.
///
/// # Errors
///
/// As for opening a pinned map.
pub fn capacity(pins: &Pins, name: &'static str) -> Result<u32, Error> {
    let info = open(pins, name)?.info();
    Ok(info.map_err(map_error(name, "look at"))?.max_entries())
}

/// How many sockets are in the sockhash now: two for each joined connection.
///
/// # Errors
///
/// As for opening and reading a pinned map.
pub fn sockets(pins: &Pins) -> Result<usize, Error> {
    count(
        layout::SOCKETS,
        Map::SockHash(open(pins, layout::SOCKETS)?),
        |map| {
            let hash = aya::maps::SockHash::<_, u64>::try_from(map)?;
            hash.keys().try_fold(0, |n, key| key.map(|_| n + 1))
        },
    )
}

/// How many rows a map of connections or of what was learnt has now.
///
/// # Errors
///
/// As for opening and reading a pinned map.
pub fn rows(pins: &Pins, name: &'static str) -> Result<usize, Error> {
    match name {
        layout::PENDING => {
            lru_rows::<sockway_common::pair::SeqKey, sockway_common::pair::PendingRow>(pins, name)
        }
        layout::WATCHED => lru_rows::<u64, sockway_common::pair::ReaderKey>(pins, name),
        layout::READERS => lru_rows::<
            sockway_common::pair::ReaderKey,
            sockway_common::reader::ReaderRow,
        >(pins, name),
        _ => sockets(pins),
    }
}

/// Kernel memory of a map, in bytes, as the kernel accounts it: what is allocated now since Linux
/// 6.4, an estimate made when the map was created before.
///
/// # Errors
///
/// As for opening and reading a pinned map.
pub fn memory(pins: &Pins, name: &'static str) -> Result<u64, Error> {
    let map = open(pins, name)?;
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    let bytes = text.lines().find_map(|l| l.strip_prefix("memlock:"));
    Ok(bytes.and_then(|b| b.trim().parse().ok()).unwrap_or(0))
}

fn lru_rows<K: Pod, V: Pod>(pins: &Pins, name: &'static str) -> Result<usize, Error> {
    count(name, Map::LruHashMap(open(pins, name)?), |map| {
        let hash = aya::maps::HashMap::<_, K, V>::try_from(map)?;
        hash.keys().try_fold(0, |n, key| key.map(|_| n + 1))
    })
}

fn count<F>(name: &'static str, map: Map, keys: F) -> Result<usize, Error>
where
    F: FnOnce(Map) -> Result<usize, MapError>,
{
    keys(map).map_err(map_error(name, "list"))
}

/// What is known of how applications read, by their addresses.
///
/// # Errors
///
/// As for opening and reading a pinned map.
pub fn readers(pins: &Pins) -> Result<Vec<(ReaderKey, ReaderRow)>, Error> {
    let name = layout::READERS;
    let hash =
        aya::maps::HashMap::<_, ReaderKey, ReaderRow>::try_from(Map::LruHashMap(open(pins, name)?))
            .map_err(map_error(name, "open"))?;
    hash.iter()
        .collect::<Result<_, _>>()
        .map_err(map_error(name, "read"))
}

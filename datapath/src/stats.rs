//! Reading what the programs counted.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

#[cfg(feature = "loader")]
use aya::Pod;
use aya::maps::{IterableMap as _, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, SockHash};
use sockway_common::addr::IpKey;
use sockway_common::counters::Stats;
#[cfg(feature = "loader")]
use sockway_common::end::EndRow;
use sockway_common::layout;
#[cfg(feature = "loader")]
use sockway_common::pair::{PendingRow, SeqKey};
use sockway_common::pod::PodStats;
#[cfg(feature = "loader")]
use sockway_common::program::{ProgramKey, ProgramRow};

#[cfg(feature = "loader")]
use crate::table;
use crate::{Error, Pins, walk};

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
    let rows = walk::rows(hash.iter(), room(hash.map())).map_err(map_error(name, "read"))?;
    let sums = rows.into_iter().map(|(ip, values)| {
        let mut sum = PodStats::default();
        for cpu in values.iter() {
            sum.add(cpu);
        }
        (ip, sum)
    });
    Ok(sums.collect())
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

/// The same of a map that is open; without the kernel's word no walk over it is cut short.
pub(crate) fn room(map: &MapData) -> usize {
    let rows = map.info().map(|info| info.max_entries());
    rows.ok()
        .and_then(|rows| usize::try_from(rows).ok())
        .unwrap_or(usize::MAX >> 3)
}

/// How many sockets are in the sockhash now: two for each joined connection.
///
/// # Errors
///
/// As for opening and reading a pinned map.
pub fn sockets(pins: &Pins) -> Result<usize, Error> {
    cookies(pins).map(|cookies| cookies.len())
}

/// Cookies of the sockets that are in the sockhash now.
pub(crate) fn cookies(pins: &Pins) -> Result<HashSet<u64>, Error> {
    let name = layout::SOCKETS;
    let data = open(pins, name)?;
    let capacity = room(&data);
    let hash =
        SockHash::<_, u64>::try_from(Map::SockHash(data)).map_err(map_error(name, "open"))?;
    walk::keys(hash.keys(), capacity).map_err(map_error(name, "list"))
}

#[cfg(feature = "loader")]
/// How many rows a map of connections or of what was learnt has now.
///
/// # Errors
///
/// As for opening and reading a pinned map.
pub fn rows(pins: &Pins, name: &'static str) -> Result<usize, Error> {
    match name {
        layout::PENDING => count::<SeqKey, PendingRow>(pins, name),
        layout::ENDS => count::<u64, EndRow>(pins, name),
        layout::PROGRAMS => count::<ProgramKey, ProgramRow>(pins, name),
        _ => sockets(pins),
    }
}

#[cfg(feature = "loader")]
fn count<K: Pod, V: Pod>(pins: &Pins, name: &'static str) -> Result<usize, Error> {
    let mut rows = 0;
    each::<K, V>(pins, name, |_, _| rows += 1)?;
    Ok(rows)
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

#[cfg(feature = "loader")]
/// Calls `see` with every row of a hash map.
fn each<K: Pod, V: Pod>(
    pins: &Pins,
    name: &'static str,
    see: impl FnMut(K, V),
) -> Result<(), Error> {
    let map = open(pins, name)?;
    table::each(&map, see).map_err(|e| Error::io("list the map at", pins.map(name), e))
}

#[cfg(feature = "loader")]
/// Every row of a hash map.
pub(crate) fn list<K: Pod, V: Pod>(pins: &Pins, name: &'static str) -> Result<Vec<(K, V)>, Error> {
    let mut rows = Vec::new();
    each(pins, name, |key, row| rows.push((key, row)))?;
    Ok(rows)
}

#[cfg(feature = "loader")]
/// What is known of programs.
///
/// # Errors
///
/// As for opening and reading a pinned map.
pub fn programs(pins: &Pins) -> Result<Vec<(ProgramKey, ProgramRow)>, Error> {
    list(pins, layout::PROGRAMS)
}

#[cfg(feature = "loader")]
/// Both ends of every connection that may take part, by cookie.
///
/// # Errors
///
/// As for opening and reading a pinned map.
pub fn ends(pins: &Pins) -> Result<Vec<(u64, EndRow)>, Error> {
    list(pins, layout::ENDS)
}

#[cfg(feature = "loader")]
/// The same, one after the other: a full node's take several MiB.
///
/// # Errors
///
/// As for opening and reading a pinned map.
pub fn each_end(pins: &Pins, see: impl FnMut(u64, EndRow)) -> Result<(), Error> {
    each(pins, layout::ENDS, see)
}

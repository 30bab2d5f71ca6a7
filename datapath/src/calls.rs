//! The plugin's calls, counted in a map that lives as long as the pins.
//!
//! The map is an array that can be mapped into memory: each process of the plugin adds to it
//! atomically, so no call waits for another, none is lost, and no daemon is needed.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aya::maps::{Array, IterableMap as _, Map, MapData, MapError};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use sockway_common::calls::{SLOTS, Value, bucket_slot, outcome_slot, sum_slot};
use sockway_common::layout::CALLS;

use crate::{Error, Pins, stats, trust};

/// `BPF_F_MMAPABLE`, since Linux 5.5.
const MMAPABLE: u32 = 1 << 10;

/// Makes and pins the map, unless it is there.
///
/// The pin directory must exist.
///
/// # Errors
/// [`Error::Map`], [`Error::Io`].
pub fn ensure(pins: &Pins) -> Result<(), Error> {
    match open(pins) {
        Ok(_) => return Ok(()),
        Err(Error::NotInstalled { .. }) => {}
        Err(error) => return Err(error),
    }
    let map: Array<MapData, Value> = Array::create(1, MMAPABLE).map_err(refused("create"))?;
    map.pin(pins.map(CALLS))
        .map_err(|source| Error::io("pin a map at", pins.map(CALLS), io::Error::other(source)))
}

/// Counts one call. `verb` and `outcome` are indices of [`sockway_common::calls`].
///
/// # Errors
/// [`Error::NotInstalled`] where there is no such map, [`Error::Io`] where its directory cannot be
/// trusted or it cannot be mapped, [`Error::Map`].
pub fn count(pins: &Pins, verb: usize, outcome: usize, took: Duration) -> Result<(), Error> {
    trust::require(pins)?;
    let array = open(pins)?;
    let mapped = Mapped::new(array.map().fd().as_fd())
        .map_err(|e| Error::io("map into memory", pins.map(CALLS), e))?;
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let counters = mapped.counters();
    for (slot, by) in [
        (outcome_slot(verb, outcome), 1),
        (bucket_slot(verb, took_us), 1),
        (sum_slot(verb), took_us),
    ] {
        if let Some(counter) = counters.get(slot) {
            counter.fetch_add(by, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The counters. A call that ends meanwhile may be in one of its counters only.
///
/// # Errors
/// As [`count`].
pub fn read(pins: &Pins) -> Result<Value, Error> {
    open(pins)?.get(&0, 0).map_err(refused("read"))
}

fn open(pins: &Pins) -> Result<Array<MapData, Value>, Error> {
    // The value's size is compared with ours here.
    Array::try_from(Map::Array(stats::open(pins, CALLS)?)).map_err(refused("open"))
}

fn refused(op: &'static str) -> impl Fn(MapError) -> Error {
    move |source| Error::Map {
        name: CALLS,
        op,
        source,
    }
}

/// The map's value in this process's memory.
struct Mapped {
    start: NonNull<std::ffi::c_void>,
}

impl Mapped {
    const LENGTH: std::num::NonZeroUsize =
        std::num::NonZeroUsize::new(size_of::<Value>()).expect("there are counters");

    fn new(map: impl AsFd) -> io::Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses a free place, so no memory of ours is touched.
        let start = unsafe { mmap(None, Self::LENGTH, protection, MapFlags::MAP_SHARED, map, 0)? };
        Ok(Self { start })
    }

    fn counters(&self) -> &[AtomicU64] {
        // SAFETY: the mapping lives as long as `self`, begins on a page, and holds the map's
        // one value, whose size was compared with `Value` when the map was opened. All that
        // share it change it by atomic additions.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast::<AtomicU64>(), SLOTS) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: what `mmap` gave, of the same length, and nothing borrows it any more.
        if let Err(error) = unsafe { munmap(self.start, Self::LENGTH.get()) } {
            log::debug!("cannot unmap the map {CALLS}: {error}");
        }
    }
}

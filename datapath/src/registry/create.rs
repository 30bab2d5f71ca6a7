//! Makes the maps that no program needs to be loaded for.

use aya::Pod;
use aya::maps::{HashMap, MapData};
use sockway_common::addr::IpKey;
use sockway_common::layout::{MAX_PODS, PODS, SANDBOXES};
use sockway_common::pod::{OwnerKey, PodRow, SandboxRow};

use super::{map_error, open_map};
use crate::{Error, Pins};

/// `BPF_F_NO_PREALLOC`: rows take memory when they are written, not all at once.
pub(crate) const NO_PREALLOC: u32 = 1;

/// Makes and pins `sandboxes`, which no program uses, unless it is there.
///
/// The pin directory must exist.
///
/// # Errors
/// [`Error::Map`] where the map cannot be made, or is there and of another
/// layout; [`Error::Io`] where it cannot be pinned.
pub fn ensure_sandboxes(pins: &Pins) -> Result<(), Error> {
    match open_map::<OwnerKey, SandboxRow>(pins, SANDBOXES) {
        Ok(_) => Ok(()),
        Err(Error::NotInstalled { .. }) => {
            create::<OwnerKey, SandboxRow>(pins, SANDBOXES, capacity(), NO_PREALLOC)
        }
        Err(error) => Err(error),
    }
}

/// Makes and pins `pods` as the eBPF object declares it: for registering pods
/// before the programs are loaded. The object then finds its map by the pin.
///
/// The pin directory must exist.
///
/// # Errors
/// As [`ensure_sandboxes`], and where the map is already there.
pub fn create_pods(pins: &Pins) -> Result<(), Error> {
    create::<IpKey, PodRow>(pins, PODS, capacity(), NO_PREALLOC)
}

fn capacity() -> u32 {
    u32::try_from(MAX_PODS).unwrap_or(u32::MAX)
}

/// Makes and pins a hash map of so many rows.
///
/// # Errors
/// [`Error::Map`], [`Error::Io`].
pub(crate) fn create<K: Pod, V: Pod>(
    pins: &Pins,
    name: &'static str,
    capacity: u32,
    flags: u32,
) -> Result<(), Error> {
    let map: HashMap<MapData, K, V> =
        HashMap::create(capacity, flags).map_err(|source| map_error(name, "create it", source))?;
    map.pin(pins.map(name)).map_err(|source| {
        Error::io(
            "pin a map at",
            pins.map(name),
            std::io::Error::other(source),
        )
    })
}

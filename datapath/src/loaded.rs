//! What the programs in place were loaded with: kept beside them, so that nobody
//! has to read the kernel's BTF again to tell what works with less.

use std::io;

use aya::maps::{Array, Map, MapData};
use sockway_common::config::Config;
use sockway_common::layout::LOADED;

use crate::{Error, Pins, pins, stats};

/// Writes it down.
///
/// # Errors
///
/// [`Error::Map`], [`Error::Io`].
pub(crate) fn note(pins: &Pins, config: &Config) -> Result<(), Error> {
    let failed = |op| {
        move |source| Error::Map {
            name: LOADED,
            op,
            source,
        }
    };
    if let Some(mut there) = open(pins) {
        return there.set(0, config, 0).map_err(failed("write its row"));
    }
    // None, or one of another layout.
    let path = pins.map(LOADED);
    pins::remove(&path)?;
    let mut map: Array<MapData, Config> = Array::create(1, 0).map_err(failed("create it"))?;
    map.set(0, config, 0).map_err(failed("write its row"))?;
    map.pin(&path)
        .map_err(|e| Error::io("pin a map at", path, io::Error::other(e)))
}

/// What was written down; `None` by versions that did not.
pub(crate) fn config(pins: &Pins) -> Option<Config> {
    open(pins)?.get(&0, 0).ok()
}

fn open(pins: &Pins) -> Option<Array<MapData, Config>> {
    let map = Map::Array(stats::open(pins, LOADED).ok()?);
    Array::try_from(map).ok()
}

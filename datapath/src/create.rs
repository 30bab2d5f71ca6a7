//! The map of ends, made before the object is loaded, which then finds it by its pin.

use sockway_common::config::{Config, typed};
use sockway_common::end::EndRow;
use sockway_common::layout::{ENDS, capacities};

use crate::registry::{NO_PREALLOC, create};
use crate::{Error, Pins};

/// Makes it, unless it is there. Its rows take memory when they are written where tracing programs
/// may write into such a map, and all at once on older kernels, which warn of it
/// (`kernel/bpf/verifier.c` `check_map_prog_compatibility`, until 6.1; told here by a kfunc of 6.2).
pub(crate) fn ends(pins: &Pins, config: &Config, connections: u32) -> Result<(), Error> {
    if pins.map(ENDS).exists() {
        return Ok(());
    }
    let rows = capacities(connections)
        .into_iter()
        .find_map(|(name, rows)| (name == ENDS).then_some(rows))
        .unwrap_or(connections);
    let flags = if config.typed >= typed::ANY {
        NO_PREALLOC
    } else {
        0
    };
    create::<u64, EndRow>(pins, ENDS, rows, flags)
}

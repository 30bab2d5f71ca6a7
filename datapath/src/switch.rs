//! Switching the node, or one pod, off and on. Redirection to TCP keeps the order of bytes at any
//! time, so off holds from each direction's next send on.

use std::thread::sleep;
use std::time::Duration;

use aya::maps::{Array, Map, MapData};
use sockway_common::layout::SIGNALS;
use sockway_common::part::Switched;
use sockway_common::pod::OwnerKey;
use sockway_common::signal;

use crate::arch::REORDERS;
use crate::stats::{map_error, open};
use crate::{Error, Pins, Registry, sys};

/// How long a program may run at most where the kernel cannot be asked to wait for its end.
const RUN: Duration = Duration::from_millis(100);

/// Switches the node off or on. Once this returns, every send that begins sees it.
///
/// # Errors
///
/// As for opening and writing a pinned map.
pub fn node(pins: &Pins, off: bool) -> Result<(), Error> {
    let mut signals = signals(pins)?;
    write(&mut signals, signal::OFF, u64::from(off))?;
    next_epoch(&mut signals)
}

/// Whether the node is switched off.
///
/// # Errors
///
/// As for opening and reading a pinned map.
pub fn is_off(pins: &Pins) -> Result<bool, Error> {
    Ok(read(&signals(pins)?, signal::OFF)? != 0)
}

/// Switches one pod off, or back to the scope that it was registered with; false where no such
/// attachment is registered.
///
/// # Errors
///
/// As for opening and writing a pinned map.
pub fn pod(pins: &Pins, owner: &OwnerKey, switched: Option<Switched>) -> Result<bool, Error> {
    let there = Registry::open(pins)?.switch(owner, switched)?;
    if there {
        look_again(pins)?;
    }
    Ok(there)
}

/// Has every direction of the node looked at anew: registrations have changed. Once this returns, every
/// send that begins sees them.
///
/// # Errors
///
/// As for opening and writing a pinned map.
pub fn look_again(pins: &Pins) -> Result<(), Error> {
    next_epoch(&mut signals(pins)?)
}

/// Has every direction of the node looked at anew, and waits for programs that run.
///
/// A look keeps its answer under the epoch that it loaded first. Where processors reorder ([`REORDERS`]),
/// one that runs now may see the new epoch and still the old state of what was changed before it. So the
/// epoch grows only once every program has ended that may not see the change: whoever sees
/// the new one began later, and RCU lets it see all that was stored before the wait.
pub(crate) fn next_epoch(signals: &mut Array<MapData, u64>) -> Result<(), Error> {
    if REORDERS {
        wait_for_programs();
    }
    // The programs count it up as well; one step that is lost between the two is made good by
    // the other's, for the value changes all the same. A large step, so that it always does.
    let epoch = read(signals, signal::EPOCH)?;
    write(signals, signal::EPOCH, epoch.wrapping_add(1 << 16))?;
    wait_for_programs();
    Ok(())
}

/// Makes what programs have just changed, and grown the epoch for, hold for every send that begins:
/// `pins` are theirs. The same argument as for [`next_epoch`]: they store in no order either.
pub(crate) fn settle(pins: &Pins) -> Result<(), Error> {
    if REORDERS {
        return look_again(pins);
    }
    wait_for_programs();
    Ok(())
}

/// Waits until every program that runs now has ended. Whatever runs afterwards on any CPU sees what was
/// stored before.
pub(crate) fn wait_for_programs() {
    if sys::wait_for_running_programs().is_err() {
        sleep(RUN);
    }
}

pub(crate) fn signals(pins: &Pins) -> Result<Array<MapData, u64>, Error> {
    let map = Map::Array(open(pins, SIGNALS)?);
    Array::try_from(map).map_err(map_error(SIGNALS, "open"))
}

pub(crate) fn read(signals: &Array<MapData, u64>, slot: u32) -> Result<u64, Error> {
    signals.get(&slot, 0).map_err(map_error(SIGNALS, "read"))
}

pub(crate) fn write(signals: &mut Array<MapData, u64>, slot: u32, value: u64) -> Result<(), Error> {
    let done = signals.set(slot, value, 0);
    done.map_err(map_error(SIGNALS, "write"))
}

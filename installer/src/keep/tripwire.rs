//! The tripwire: a pod at one of whose ends redirected bytes stand still is switched off.
//!
//! It goes by TCP from the next send on, and what waits is read whenever its program reads. So does it
//! until `sockway on --pod`: that stands in the maps, and outlives the keeper.

use anyhow::Result;
use sockway_common::part::Switched;
use sockway_common::pod::OwnerKey;
use sockway_common::scope;
use sockway_datapath::late::Stood;
use sockway_datapath::{Pins, Registry, switch};

use super::shared::Shared;
use crate::exit;
use crate::reconcile;

/// Switches off the pods of these ends, and says so.
pub fn trip(pins: &Pins, stood: &[Stood], shared: &Shared) {
    for stood in stood {
        match trip_one(pins, stood) {
            Ok(None) => {}
            Ok(Some(pod)) => {
                log::warn!("{}", line(&pod, stood));
                shared.lock().trips += 1;
            }
            Err(e) => log::error!(
                "cannot switch off the pod of {}, where bytes stand still: {}",
                stood.local,
                exit::chain(&e)
            ),
        }
    }
}

/// The pod's name, where it was switched off now.
fn trip_one(pins: &Pins, stood: &Stood) -> Result<Option<String>> {
    let registry = Registry::open(pins)?;
    // A connection to a pod without a registration is that of the other end's.
    for address in &stood.pods {
        let Some(row) = registry.pod(address)? else {
            continue;
        };
        return if row.scope == scope::OFF {
            // By another of its ends, or by hand: nothing more is redirected.
            Ok(None)
        } else {
            switch_off(pins, &registry, &row.owner)
        };
    }
    Ok(None)
}

fn switch_off(pins: &Pins, registry: &Registry, owner: &OwnerKey) -> Result<Option<String>> {
    let Some(sandbox) = registry.sandbox(owner)? else {
        return Ok(None);
    };
    let there = switch::pod(pins, owner, Some(Switched::Tripped))?;
    Ok(there.then(|| reconcile::title(&sandbox)))
}

/// What is said of it.
fn line(pod: &str, stood: &Stood) -> String {
    let Stood {
        local,
        remote,
        programs,
        time,
        ..
    } = stood;
    let programs = if programs.is_empty() {
        "a program that cannot be seen".to_owned()
    } else {
        programs.join(", ")
    };
    format!(
        "tripped: {pod} is switched off, all of it goes by TCP: for {} s redirected bytes from {remote} have waited \
         at {local}, and {programs} waits for bytes there and does not read them; `sockway on --pod {pod}` takes \
         it back in",
        time.as_secs()
    )
}

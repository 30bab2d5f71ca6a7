//! Asking the programs which threads have begun a call since.

use aya::maps::{Array, HashMap as Rows, Map, MapData};
use sockway_common::layout::CALLERS;
use sockway_common::signal::QUESTION;

use crate::arch::REORDERS;
use crate::stats::{map_error, open};
use crate::{Error, Pins, switch};

/// The question, and the rows that answer it. The number is kept in the map, so that no answer to an
/// earlier keeper's question counts for this one's.
pub(super) struct Callers {
    signals: Array<MapData, u64>,
    rows: Rows<MapData, u32, u64>,
}

impl Callers {
    /// Opens what is pinned; nothing is asked.
    pub(super) fn open(pins: &Pins) -> Result<Self, Error> {
        let map = Map::LruHashMap(open(pins, CALLERS)?);
        let mut callers = Self {
            signals: switch::signals(pins)?,
            rows: Rows::try_from(map).map_err(map_error(CALLERS, "open"))?,
        };
        callers.rest()?;
        Ok(callers)
    }

    /// Asks anew; the number of the question. Who answers it has seen all that was stored before, for
    /// example the new calls of a socket that was put into the sockhash.
    pub(super) fn ask(&mut self) -> Result<u64, Error> {
        if REORDERS {
            switch::wait_for_programs();
        }
        let question = (switch::read(&self.signals, QUESTION)? | 1).wrapping_add(2);
        switch::write(&mut self.signals, QUESTION, question)?;
        Ok(question)
    }

    /// Nobody waits for an answer any more.
    pub(super) fn rest(&mut self) -> Result<(), Error> {
        let number = switch::read(&self.signals, QUESTION)?;
        if number & 1 == 0 {
            return Ok(());
        }
        switch::write(&mut self.signals, QUESTION, number.wrapping_add(1))
    }

    /// The last question that a thread answered; 0 for none.
    pub(super) fn answered(&self, thread: u32) -> u64 {
        self.rows.get(&thread, 0).unwrap_or(0)
    }
}

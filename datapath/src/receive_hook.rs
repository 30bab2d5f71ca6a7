//! Seeing where receiving calls end, only while there is something to be learnt by it.
//!
//! The tracepoint `sock_recv_length` fires for every receiving call of the machine, whoever
//! makes it, and costs each some 80 ns. What it shows matters only for programs that are not known
//! yet ([`sockway_common::program::wants_ends`]).
//! So whoever keeps the node may take the program off it, and put it back once a program asks.

use aya::maps::{Array, Map, MapData};
use aya::programs::RawTracePoint;
use sockway_common::layout::{self, program};
use sockway_common::signal;

use crate::stats::{map_error, open};
use crate::{Error, Pins, attach, pins};

/// The hook of one node.
#[expect(missing_debug_implementations, reason = "aya's array has none")]
pub struct ReceiveHook<'a> {
    pins: &'a Pins,
    signals: Array<MapData, u64>,
}

impl<'a> ReceiveHook<'a> {
    /// Opens what is pinned.
    ///
    /// # Errors
    ///
    /// As for opening a pinned map.
    pub fn open(pins: &'a Pins) -> Result<Self, Error> {
        let map = Map::Array(open(pins, layout::SIGNALS)?);
        let signals = Array::try_from(map).map_err(map_error(layout::SIGNALS, "open"))?;
        Ok(Self { pins, signals })
    }

    /// How often a read came for which it matters where receiving calls end.
    ///
    /// # Errors
    ///
    /// As for reading a pinned map.
    pub fn asks(&self) -> Result<u64, Error> {
        let asks = self.signals.get(&signal::ASKS, 0);
        asks.map_err(map_error(layout::SIGNALS, "read"))
    }

    /// True while the program is on the tracepoint.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.pins.link(program::ENDS).exists()
    }

    /// Puts the program back on the tracepoint. False where there is nothing to put back: the node
    /// is detached, or its kernel has no such tracepoint.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn attach(&mut self) -> Result<bool, Error> {
        let (name, pin) = (program::ENDS, self.pins.program(program::ENDS));
        if attach::is_detached(self.pins) || !pin.exists() {
            return Ok(false);
        }
        let mut program = RawTracePoint::from_pin(&pin).map_err(attach::refused(name, "open"))?;
        attach::to_tracepoint(&mut program, self.pins, name, attach::RECEIVED)?;
        self.note(true)?;
        Ok(true)
    }

    /// Takes the program off the tracepoint. False where it could not be put back, and stays.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn release(&mut self) -> Result<bool, Error> {
        if !self.pins.program(program::ENDS).exists() {
            return Ok(false);
        }
        // First: from here on a read says nothing about what came before it.
        self.note(false)?;
        pins::remove(&self.pins.link(program::ENDS))?;
        Ok(true)
    }

    /// Tells the programs whether it is seen.
    pub(crate) fn note(&mut self, seen: bool) -> Result<(), Error> {
        let done = self.signals.set(signal::SEES_ENDS, u64::from(seen), 0);
        done.map_err(map_error(layout::SIGNALS, "write"))
    }
}

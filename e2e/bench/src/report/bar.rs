//! A bar: what one figure by another is held to.

use crate::case::{Case, Tool};
use crate::mode::Mode;
use crate::topic::Topic;

/// One bar: a ratio of two figures of the same round.
#[derive(Clone)]
pub(super) struct Bar {
    /// For the table.
    pub(super) what: String,
    /// What is measured.
    pub(super) topic: Topic,
    /// How.
    pub(super) tool: Tool,
    /// Bytes of a message.
    pub(super) payload: u32,
    /// With mutual TLS between the Envoys.
    pub(super) secure: bool,
    /// What is held to it.
    pub(super) mine: Side,
    /// What it is divided by.
    pub(super) by: Side,
    /// What the ratio is to be.
    pub(super) bound: Bound,
}

/// A mode beside so many idle connections and pods.
pub(super) type Side = (Mode, (u32, u32));

#[derive(Clone, Copy)]
pub(super) enum Bound {
    /// Rate, at least.
    Rate(f64),
    /// Average time, at most.
    Average(f64),
    /// Median time, at most.
    Median(f64),
    /// Share of plain TCP's bytes that no interface saw from the third second on, on the hop
    /// with the least, at least.
    Share(f64),
}

/// Connections of the article's set-up.
const CONNECTIONS: u32 = 64;

impl Bar {
    /// The same with mutual TLS between the Envoys.
    pub(super) fn secure(self) -> Self {
        Self {
            what: format!("{}, mutual TLS", self.what),
            secure: true,
            ..self
        }
    }

    /// Whether a case is the one that is held to it.
    pub(super) fn is_of(&self, case: &Case, (_, beside): Side) -> bool {
        let connections = [Topic::Cold, Topic::Echo].contains(&self.topic);
        (case.topic, case.tool, case.payload) == (self.topic, self.tool, self.payload)
            && (case.secure, (case.idle, case.pods)) == (self.secure, beside)
            && (!connections || case.connections == CONNECTIONS)
    }
}

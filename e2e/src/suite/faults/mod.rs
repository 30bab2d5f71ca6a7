//! What breaks in mid-stream, and what is left afterwards: nothing.
//!
//! Each fault that applications can see happens to accelerated and to plain
//! connections of the same pods in turn: no byte may be wrong, and nobody may
//! wait longer for the end than with TCP.

mod census;
mod full;
mod installer;
mod kills;
mod pods;
mod storm;

use super::Case;

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    let topics = [
        kills::cases(),
        pods::cases(),
        full::cases(),
        storm::cases(),
        installer::cases(),
    ];
    topics.into_iter().flatten().collect()
}

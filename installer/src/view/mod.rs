//! What is shown: gathered from the maps and the node, the same for a person, for a program and for metrics.

pub mod explain;
pub mod figures;
pub mod pods;
pub mod rates;
pub mod state;

//! The conflist as text: where our entry belongs, how it gets in and out.
//!
//! Everything here maps text to text and touches no file. Edits are made at
//! byte offsets of the original text, so that what is not ours keeps its
//! order, unknown keys, number formats and white space, and so that taking
//! the entry out again gives back the very bytes that were there before.

mod edit;
mod lists;
mod parse;
#[cfg(test)]
mod tests;

pub use edit::{Edit, insert, names_plugin, remove};
pub use sockway_datapath::section::PLUGIN_TYPE;

pub use parse::{Conflist, Plugin, Problem};

/// The `type` of the interface plugin that we chain behind.
pub const TERWAY_TYPE: &str = "terway";
/// The `type` that terway appends to its own list where the datapath needs it.
pub const CILIUM_TYPE: &str = "cilium-cni";
/// The `type` of Istio's CNI plugin.
pub const ISTIO_TYPE: &str = "istio-cni";

/// The `type`s of plugins that make no interface but have others called, from a copy of a list in
/// their own configuration or by its name.
pub const META_TYPES: [&str; 3] = ["multus", "multus-shim", "genie"];

/// Versions of the CNI specification that the plugin speaks, oldest first.
pub const CNI_VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

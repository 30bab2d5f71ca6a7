//! The CNI plugin under those who call it: the real cnitool and libcni, a real
//! containerd, the specification by hand; and beside the reference plugins.
//!
//! Everything runs in namespaces of its own (see [`world`]), so that whatever
//! happens nothing is left on the machine.

mod bench;
mod chains;
mod cli;
mod cnitool;
mod containerd;
mod cri;
mod drivers;
mod filter;
mod invoke;
mod matrix;
mod node;
mod pod;
mod report;
mod reuse;
mod roles;
mod tools;
pub mod world;

use std::process::ExitCode;

/// Runs as what the program was called: itself, or a plugin or container that
/// the tests put under another name.
#[must_use]
pub fn run() -> ExitCode {
    match roles::of_name() {
        Some(role) => role(),
        None => cli::run(),
    }
}

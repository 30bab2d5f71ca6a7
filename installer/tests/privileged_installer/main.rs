//! The built binaries on a node of the test's own: real programs, private directories.
//!
//! Needs root and the real eBPF object: `make test-privileged`.

mod doctor;
mod existing;
mod fight;
mod footprint;
mod foreign;
mod ids;
mod keep;
mod keeper;
mod killed;
mod lifecycle;
mod node;
mod pod;
mod reboots;
mod refused;
mod traffic;
mod upgrade;
mod view;

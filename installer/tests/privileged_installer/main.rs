//! The built binaries on a node of the test's own: real programs, private directories.
//!
//! Needs root and the real eBPF object: `make test-privileged`.

mod disorder;
mod doctor;
mod fight;
mod footprint;
mod foreign;
mod ids;
mod keep;
mod keeper;
mod killed;
mod kinds;
mod lifecycle;
mod light;
mod look;
mod node;
mod pod;
mod reboots;
mod refused;
mod traffic;
mod upgrade;
mod view;

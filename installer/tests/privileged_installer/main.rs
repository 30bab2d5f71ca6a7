//! The built binaries on a node of the test's own: real programs, private directories.
//!
//! Needs root and the real eBPF object: `make test-privileged`.

mod keep;
mod killed;
mod lifecycle;
mod node;
mod refused;
mod traffic;
mod upgrade;

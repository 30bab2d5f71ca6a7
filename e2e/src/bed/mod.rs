//! Pods for tests: network namespaces wired by a real CNI chain, each with a
//! real Envoy behind Istio's REDIRECT rules.

pub mod command;
pub mod cpu;
pub mod kernel_memory;
pub mod mode;
pub mod node;
pub mod place;
pub mod pod;
pub mod process;
mod rules;
pub mod scratch;
pub mod sidecar;
pub mod tools;

//! Pods for tests: network namespaces wired by a real CNI chain, each with a
//! real Envoy behind Istio's REDIRECT rules.

pub mod capture;
pub mod cpu;
pub mod identity;
pub mod keeper;
pub mod kernel_memory;
pub mod load;
pub mod mode;
pub mod node;
pub mod pod;
mod rules;
pub mod scratch;
pub mod sidecar;
mod tls;
pub mod tools;
mod typed;

//! Pods for tests: network namespaces wired by a real CNI chain, each with a
//! real Envoy behind Istio's REDIRECT rules.

pub(crate) mod command;
pub(crate) mod node;
pub(crate) mod place;
pub(crate) mod pod;
pub(crate) mod process;
mod rules;
pub(crate) mod scratch;
pub(crate) mod sidecar;
pub(crate) mod tools;

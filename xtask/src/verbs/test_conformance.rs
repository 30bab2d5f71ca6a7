//! `cargo xtask test-conformance`: the plugin under cnitool, libcni and a real containerd.

use anyhow::Result;

use super::Verb;
use crate::Workspace;
use crate::ring::Ring;
use crate::suite::Suite;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "test-conformance",
    help: "the plugin under cnitool, libcni and containerd [ARGUMENTS of sockway-conformance]",
    run,
};

const SUITE: Suite = Suite {
    name: "conformance",
    package: "sockway-conformance",
    runs: &[&["cnitool"], &["containerd"], &["reuse"]],
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    Ring::finish(&[ring(workspace, arguments)])
}

/// As a ring.
pub fn ring(workspace: &Workspace, arguments: &[String]) -> Ring {
    SUITE.ring(workspace, arguments)
}

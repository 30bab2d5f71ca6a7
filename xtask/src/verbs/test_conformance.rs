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
    // The bench is held to what counts on a busy machine too: ratios, memory, flatness.
    runs: &[
        &["cnitool"],
        &["containerd"],
        &["reuse", "--cycles", "10000"],
        &["bench", "--rounds", "100"],
    ],
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    Ring::finish(&[ring(workspace, arguments)])
}

/// As a ring.
pub fn ring(workspace: &Workspace, arguments: &[String]) -> Ring {
    SUITE.ring(workspace, arguments)
}

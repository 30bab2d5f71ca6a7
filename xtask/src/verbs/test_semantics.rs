//! `cargo xtask test-semantics`: what TCP promises an application, plain and accelerated.

use anyhow::Result;

use super::Verb;
use crate::Workspace;
use crate::ring::Ring;
use crate::suite::Suite;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "test-semantics",
    help: "what TCP promises, plain and accelerated [ARGUMENTS of sockway-semantics]",
    run,
};

const SUITE: Suite = Suite {
    name: "semantics",
    package: "sockway-semantics",
    // Other work on the machine must not make it fail.
    runs: &[&["--pace", "3"]],
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    Ring::finish(&[ring(workspace, arguments)])
}

/// As a ring.
pub fn ring(workspace: &Workspace, arguments: &[String]) -> Ring {
    SUITE.ring(workspace, arguments)
}

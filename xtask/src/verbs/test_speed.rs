//! `cargo xtask test-speed`: is it still clearly faster than plain TCP?

use anyhow::Result;

use super::Verb;
use crate::Workspace;
use crate::ring::Ring;
use crate::suite::Suite;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "test-speed",
    help: "fail where it is not clearly faster than plain TCP [ARGUMENTS of sockway-bench]",
    run,
};

const SUITE: Suite = Suite {
    name: "speed",
    package: "sockway-bench",
    runs: &[&["guard"]],
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    Ring::finish(&[ring(workspace, arguments)])
}

/// As a ring.
pub fn ring(workspace: &Workspace, arguments: &[String]) -> Ring {
    SUITE.ring(workspace, arguments)
}

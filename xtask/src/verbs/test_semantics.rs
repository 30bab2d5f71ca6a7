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

/// As part of all tests: every case where applications stand, but those with open faults. Other
/// work on the machine must not make it fail, hence the pace.
const SOME: Suite = Suite {
    name: "semantics",
    package: "sockway-semantics",
    runs: &[&["--pace", "3", "--variants", "none"]],
};

/// By itself: every case at each end of each hop in each mode; then ends that only send by
/// redirection, which this kernel may not have.
const ALL: Suite = Suite {
    runs: &[
        &["--pace", "3", "--variants", "all"],
        &[
            "--pace",
            "3",
            "--variants",
            "all",
            "--mode",
            "half,turning",
            "--trust-fionread",
        ],
    ],
    ..SOME
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    Ring::finish(&[ALL.ring(workspace, arguments)])
}

/// As a ring.
pub fn ring(workspace: &Workspace, arguments: &[String]) -> Ring {
    SOME.ring(workspace, arguments)
}

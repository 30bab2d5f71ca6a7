//! `cargo xtask test-e2e`: pods, Envoys and verified traffic, with the release binaries.

use anyhow::Result;

use super::{Verb, build};
use crate::Workspace;
use crate::e2e;
use crate::ring::{Ring, count_tests, total_line};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "test-e2e",
    help: "pods, Envoys and verified traffic, as root [ARGUMENTS of sockway-e2e test]",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    Ring::finish(&[ring(workspace, arguments)])
}

/// As a ring.
pub fn ring(workspace: &Workspace, arguments: &[String]) -> Ring {
    Ring::run("e2e", |count| {
        build::build(workspace)?;
        count_tests(
            e2e::command(workspace, "test").args(arguments),
            count,
            total_line,
        )
    })
}

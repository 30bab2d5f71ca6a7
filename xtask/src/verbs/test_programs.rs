//! `cargo xtask test-programs`: real programs behind sidecars, plain and accelerated.

use anyhow::Result;

use super::{Verb, build};
use crate::Workspace;
use crate::e2e;
use crate::ring::{Ring, count_tests, total_line};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "test-programs",
    help: "real programs behind sidecars, as root [ARGUMENTS of sockway-e2e programs]",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    Ring::finish(&[ring(workspace, arguments)])
}

/// As a ring.
pub fn ring(workspace: &Workspace, arguments: &[String]) -> Ring {
    Ring::run("programs", |count| {
        build::build_with(workspace, &["sockway-hyper"])?;
        count_tests(
            e2e::command(workspace, "programs").args(arguments),
            count,
            total_line,
        )
    })
}

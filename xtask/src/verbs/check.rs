//! `cargo xtask check`: what one runs before each commit.

use anyhow::Result;

use super::{Verb, lint, no_arguments, test_unit};
use crate::Workspace;
use crate::ring::Ring;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "check",
    help: "before each commit: lint, and the tests without root",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    Ring::finish(&[lint::ring(workspace), test_unit::ring(workspace)])
}

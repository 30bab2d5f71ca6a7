//! `cargo xtask bench`: the measurements.

use anyhow::Result;

use super::Verb;
use crate::Workspace;
use crate::e2e;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "bench",
    help: "measure plain against accelerated [ARGUMENTS of sockway-e2e bench]",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    e2e::become_it(workspace, "bench", arguments)
}

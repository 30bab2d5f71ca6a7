//! `cargo xtask soak`: verified traffic for long.

use anyhow::Result;

use super::Verb;
use crate::Workspace;
use crate::e2e;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "soak",
    help: "verified traffic for a long but bounded time [ARGUMENTS of sockway-e2e soak]",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    e2e::become_it(workspace, "soak", arguments)
}

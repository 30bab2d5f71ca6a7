//! `cargo xtask switches`: off, on and uninstall under many connections.

use anyhow::Result;

use super::Verb;
use crate::Workspace;
use crate::e2e;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "switches",
    help: "off, on, uninstall under connections that live on [ARGUMENTS of sockway-e2e switches]",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    e2e::become_it(workspace, "switches", arguments)
}

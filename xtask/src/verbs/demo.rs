//! `cargo xtask demo`: the main job, shown.

use anyhow::Result;

use super::Verb;
use crate::Workspace;
use crate::e2e;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "demo",
    help: "show the main job: two pods, two Envoys, plain against accelerated [ARGUMENTS of sockway-e2e demo]",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    e2e::become_it(workspace, "demo", arguments)
}

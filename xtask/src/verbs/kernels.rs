//! `cargo xtask kernels`: the suites on other kernels.

use anyhow::Result;

use super::Verb;
use crate::Workspace;
use crate::e2e;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "kernels",
    help: "the suites on other kernels, under qemu [ARGUMENTS of sockway-e2e kernels]",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    e2e::become_it(workspace, "kernels", arguments)
}

//! `cargo xtask fmt`: formats every crate, ebpf/ too.

use anyhow::Result;

use super::{Verb, no_arguments};
use crate::Workspace;
use crate::{cargo, command};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "fmt",
    help: "format every crate",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    format(workspace, &[])
}

/// Runs rustfmt over both workspaces, with further arguments.
///
/// # Errors
/// When rustfmt is not there or, with `--check`, something is not formatted.
pub fn format(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    for directory in [
        workspace.root().to_path_buf(),
        workspace.root().join("ebpf"),
    ] {
        let mut cargo = cargo::cargo(workspace);
        command::run(
            cargo
                .current_dir(directory)
                .args(["fmt", "--all"])
                .args(arguments),
        )?;
    }
    Ok(())
}

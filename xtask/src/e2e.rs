//! The release binary `sockway-e2e`, whose subcommands do the work of several verbs.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::Workspace;
use crate::verbs::build;

/// Builds everything and becomes `sockway-e2e SUBCOMMAND`.
///
/// Becomes it rather than waits for it: on Ctrl-C the terminal's prompt shall be
/// back when the clean-up is done, not before.
///
/// # Errors
/// When the build fails or the program cannot be started.
pub fn become_it(workspace: &Workspace, subcommand: &str, arguments: &[String]) -> Result<()> {
    build::build(workspace)?;
    let mut command = command(workspace, subcommand);
    let error = command.args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// `sockway-e2e SUBCOMMAND` with all tools' paths in its environment.
pub fn command(workspace: &Workspace, subcommand: &str) -> Command {
    let mut command = Command::new(build::directory(workspace).join("sockway-e2e"));
    workspace.tools().export(&mut command);
    command.current_dir(workspace.root()).arg(subcommand);
    command
}

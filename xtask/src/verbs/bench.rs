//! `cargo xtask bench`: how fast it is, with a report.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Verb, build, ebpf};
use crate::Workspace;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "bench",
    help: "measure, and write a report to target/bench [ARGUMENTS of sockway-bench]",
    run,
};

const PACKAGE: &str = "sockway-bench";

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    ebpf::build_bench(workspace)?;
    build::build_with(workspace, &[PACKAGE])?;
    let mut command = Command::new(build::directory(workspace).join(PACKAGE));
    workspace.tools().export(&mut command);
    command.current_dir(workspace.root());
    if arguments.is_empty() {
        command.arg("run");
    }
    // Becomes it: see `crate::e2e::become_it`.
    let error = command.args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {PACKAGE}"))
}

//! `cargo xtask cluster`, `cluster-down` and `test-cluster`: a whole cluster on this machine.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Verb, build, image, no_arguments};
use crate::Workspace;
use crate::command;

/// See [`Verb`].
pub const UP: Verb = Verb {
    name: "cluster",
    help: "start a cluster with Istio, in namespaces of its own",
    run: |workspace, arguments| {
        prepare(workspace)?;
        command::run(program(workspace, "up").args(arguments))
    },
};

/// See [`Verb`].
pub const DOWN: Verb = Verb {
    name: "cluster-down",
    help: "end it",
    run: |workspace, arguments| {
        no_arguments(arguments)?;
        build::build_with(workspace, &[PACKAGE])?;
        command::run(&mut program(workspace, "down"))
    },
};

/// See [`Verb`].
pub const TEST: Verb = Verb {
    name: "test-cluster",
    help: "Sockway in a cluster, as users install and run it [ARGUMENTS of sockway-cluster test]",
    run: |workspace, arguments| {
        prepare(workspace)?;
        // Becomes it: on Ctrl-C it takes the cluster down before the prompt is back.
        let error = program(workspace, "test").args(arguments).exec();
        Err(error).context("cannot start sockway-cluster")
    },
};

const PACKAGE: &str = "sockway-cluster";

/// Its program, and the image of what is tested.
fn prepare(workspace: &Workspace) -> Result<()> {
    build::build_with(workspace, &[PACKAGE])?;
    image::image(workspace, &[])
}

fn program(workspace: &Workspace, subcommand: &str) -> Command {
    let mut command = Command::new(build::directory(workspace).join(PACKAGE));
    workspace.tools().export(&mut command);
    command.current_dir(workspace.root()).arg(subcommand);
    command
}

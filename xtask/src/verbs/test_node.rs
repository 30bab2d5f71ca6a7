//! `cargo xtask test-node`: the installer's tests to their full length, with the release binaries.

use super::{Verb, build, test_privileged};
use crate::Workspace;
use crate::ring::{Count, Ring, count_tests, harness_line};
use anyhow::Result;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "test-node",
    help: "the installer to its bars: every kill point, 60 s fights, 100 reboots [TEST...]",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    Ring::finish(&[Ring::run("node", |count| {
        tests(workspace, arguments, count)
    })])
}

fn tests(workspace: &Workspace, names: &[String], count: &mut Count) -> Result<()> {
    build::build(workspace)?;
    let mut command = test_privileged::cargo(workspace, &workspace.ebpf_object());
    command
        .args(["--package", "sockway", "--test", "privileged_installer"])
        .args(["--", "--test-threads=1", "--nocapture"])
        .args(names)
        .env("SOCKWAY_LONG", "1")
        .env("SOCKWAY_BIN", build::directory(workspace).join("sockway"));
    count_tests(&mut command, count, harness_line)
}

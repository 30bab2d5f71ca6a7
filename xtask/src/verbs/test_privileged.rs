//! `cargo xtask test-privileged`: the real programs in the running kernel.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::{Verb, ebpf, no_arguments};
use crate::Workspace;
use crate::members::{PRIVILEGED, Tests};
use crate::ring::{Count, Ring, count_tests, harness_line};
use crate::{cargo, command};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "test-privileged",
    help: "tests with the real eBPF object in the running kernel, as root",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    Ring::finish(&[ring(workspace)])
}

/// As a ring.
pub fn ring(workspace: &Workspace) -> Ring {
    Ring::run("privileged", |count| tests(workspace, count))
}

fn tests(workspace: &Workspace, count: &mut Count) -> Result<()> {
    let user = command::output(Command::new("id").arg("-u"))?;
    if user.trim() != "0" {
        bail!("needs root to load programs; run it as root, or run `make lint test-unit` only");
    }
    let tests = Tests::find(workspace)?;
    let object = ebpf::build(workspace, &[])?;
    // Without any --test, cargo would run every target.
    let whole = if tests.privileged.is_empty() {
        Ok(())
    } else {
        let mut command = cargo(workspace, &object);
        command.arg("--workspace");
        command.args(tests.privileged.iter().flat_map(|name| ["--test", name]));
        count_tests(
            command.args(["--", "--test-threads=1"]),
            count,
            harness_line,
        )
    };
    let mut command = cargo(workspace, &object);
    command.args(["--workspace", "--lib", "--bins"]);
    command.args(tests.plain.iter().flat_map(|name| ["--test", name]));
    command.args(["--", "--test-threads=1", PRIVILEGED]);
    whole.and(count_tests(&mut command, count, harness_line))
}

/// `cargo test`, to be told which ones; one at a time, for the kernel's state is shared.
pub fn cargo(workspace: &Workspace, object: &Path) -> Command {
    let mut cargo = cargo::cargo(workspace);
    workspace.tools().export(&mut cargo);
    cargo
        .args(["test", "--no-fail-fast"])
        .env("SOCKWAY_EBPF_OBJECT", object)
        .env("SOCKWAY_PRIVILEGED", "1");
    cargo
}

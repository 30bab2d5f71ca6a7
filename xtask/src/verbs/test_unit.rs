//! `cargo xtask test-unit`: everything that needs neither root nor a BPF toolchain.

use anyhow::Result;

use super::{Verb, no_arguments};
use crate::Workspace;
use crate::cargo;
use crate::members::{PRIVILEGED, Tests};
use crate::ring::{Ring, count_tests, harness_line};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "test-unit",
    help: "unit, integration and doc tests without root and BPF toolchain",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    Ring::finish(&[ring(workspace)])
}

/// As a ring.
pub fn ring(workspace: &Workspace) -> Ring {
    Ring::run("unit", |count| {
        let tests = Tests::find(workspace)?;
        let mut targets = cargo::cargo(workspace);
        targets.args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins"]);
        targets.args(tests.plain.iter().flat_map(|name| ["--test", name]));
        targets.args(["--", "--skip", PRIVILEGED]);
        count_tests(&mut targets, count, harness_line)?;
        let mut examples = cargo::cargo(workspace);
        examples.args(["test", "--workspace", "--no-fail-fast", "--doc"]);
        count_tests(&mut examples, count, harness_line)
    })
}

//! `cargo xtask test-privileged`: the real programs in the running kernel.

use std::env;
use std::process::Command;

use anyhow::{Result, bail};

use super::{Verb, ebpf, no_arguments};
use crate::Workspace;
use crate::members::Tests;
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
    let names = Tests::find(workspace)?.privileged;
    if names.is_empty() {
        bail!("no member has a test target whose name begins with \"privileged\"");
    }
    let object = ebpf::build(workspace, &[])?;
    let mut cargo = cargo::cargo(workspace);
    workspace.tools().export(&mut cargo);
    cargo
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(names.iter().flat_map(|name| ["--test", name]))
        // One at a time: the kernel's state is shared.
        .args(["--", "--test-threads=1"])
        .env("SOCKWAY_EBPF_OBJECT", object)
        .env("SOCKWAY_PRIVILEGED", "1");
    if env::var_os("RUST_BACKTRACE").is_none() {
        cargo.env("RUST_BACKTRACE", "1");
    }
    count_tests(&mut cargo, count, harness_line)
}

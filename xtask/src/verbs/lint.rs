//! `cargo xtask lint`: formatting, clippy, and what no linter knows.

use std::process::Command;

use anyhow::Result;

use super::{Verb, check_tree, ebpf, fmt, no_arguments};
use crate::Workspace;
use crate::ring::{Count, Ring};
use crate::toolchain::Toolchain;
use crate::tools::CONF_TOOLS;
use crate::{cargo, command};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "lint",
    help: "rustfmt --check, clippy with warnings denied, check-tree, spelling, conf/check",
    run,
};

/// The newest compiler whose lints this tree is clean of. A newer clippy knows
/// more lints: its warnings are shown, but they are no failure.
const NEWEST_MINOR: u32 = 96;

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    Ring::finish(&[ring(workspace)])
}

/// As a ring.
pub fn ring(workspace: &Workspace) -> Ring {
    Ring::run("lint", |count| {
        report("rustfmt", &fmt::format(workspace, &["--check"]), count);
        report("clippy", &clippy(workspace), count);
        report("clippy of ebpf/", &clippy_ebpf(workspace), count);
        report("check-tree", &check_tree::check(workspace), count);
        report("spelling", &script(workspace, "scripts/spelling"), count);
        report("conf/check", &script(workspace, "conf/check"), count);
        Ok(())
    })
}

fn report(name: &str, result: &Result<()>, count: &mut Count) {
    match result {
        Ok(()) => println!("{name}: ok"),
        Err(error) => println!("{name}: FAILED: {error:#}"),
    }
    count.add(result);
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let mut cargo = cargo::cargo(workspace);
    cargo.args(["clippy", "--workspace", "--all-targets", "--quiet", "--"]);
    command::run(cargo.args(level(cargo::minor()?)))
}

/// The programs' crate is a workspace of its own, with a toolchain of its own.
fn clippy_ebpf(workspace: &Workspace) -> Result<()> {
    let toolchain = Toolchain::for_bpf(workspace.tools())?;
    let mut clippy = toolchain.clippy();
    ebpf::settings(workspace, &mut clippy)?;
    clippy.args(["--release", "--quiet", "--"]);
    command::run(clippy.args(level(toolchain.minor())))
}

/// Of words; of chart, manifests, alert rules and dashboard.
fn script(workspace: &Workspace, name: &str) -> Result<()> {
    let mut check = Command::new(workspace.root().join(name));
    check.env("PATH", workspace.tools().path_with(CONF_TOOLS)?);
    command::run(&mut check)
}

/// What becomes of warnings with the compiler of that minor version.
fn level(minor: u32) -> &'static [&'static str] {
    if minor <= NEWEST_MINOR {
        return &["-D", "warnings"];
    }
    println!("clippy: 1.{minor} is newer than 1.{NEWEST_MINOR}, its warnings are no failure");
    &[]
}

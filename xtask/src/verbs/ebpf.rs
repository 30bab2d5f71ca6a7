//! `cargo xtask ebpf`: the eBPF programs, from ebpf/ to one object file.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Verb;
use crate::Workspace;
use crate::command;
use crate::toolchain::Toolchain;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "ebpf",
    help: "build the eBPF object into target/bpf/sockway.o [ARGUMENTS of cargo build]",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    build(workspace, arguments).map(|_| ())
}

/// Builds the object, with further arguments for `cargo build`, and returns its path.
///
/// # Errors
/// When no toolchain or linker fits, when the build fails, or the object cannot be written.
pub fn build(workspace: &Workspace, arguments: &[String]) -> Result<PathBuf> {
    let toolchain = Toolchain::for_bpf(workspace.tools())?;
    eprintln!("ebpf: with {}", toolchain.describe());
    let mut cargo = toolchain.cargo();
    settings(workspace, &mut cargo)?;
    cargo.args(["build", "--release"]).args(arguments);
    if env::var_os("CI").is_some() {
        cargo.arg("--locked");
    }
    command::run(&mut cargo)?;
    let object = workspace.ebpf_object();
    let built = directory(workspace).join("bpfel-unknown-none/release/sockway");
    copy_if_changed(&built, &object)?;
    eprintln!("ebpf: {}", object.display());
    Ok(object)
}

/// Builds what `make bench` measures with into target/bpf: the programs with
/// their bench-only parts, and the yardstick. No release carries either.
///
/// # Errors
/// As for [`build`].
pub fn build_bench(workspace: &Workspace) -> Result<()> {
    let toolchain = Toolchain::for_bpf(workspace.tools())?;
    let mut cargo = toolchain.cargo();
    settings(workspace, &mut cargo)?;
    // Apart from the shipped object, which shall not be built anew for it.
    let directory = directory(workspace).join("bench");
    cargo
        .env("CARGO_TARGET_DIR", &directory)
        .args(["build", "--release", "--features", "bench"]);
    if env::var_os("CI").is_some() {
        cargo.arg("--locked");
    }
    command::run(&mut cargo)?;
    let built = directory.join("bpfel-unknown-none/release");
    let bpf = workspace.target().join("bpf");
    copy_if_changed(&built.join("sockway"), &bpf.join("sockway-bench.o"))?;
    copy_if_changed(&built.join("tuple"), &bpf.join("tuple.o"))
}

/// Makes a cargo command work on ebpf/ and find the linker.
///
/// # Errors
/// When there is no `bpf-linker`.
pub fn settings(workspace: &Workspace, cargo: &mut Command) -> Result<()> {
    cargo
        .current_dir(workspace.root().join("ebpf"))
        .env("CARGO_TARGET_DIR", directory(workspace))
        .env("PATH", workspace.tools().path_with_bpf_linker()?);
    Ok(())
}

/// Apart from the other builds, whose lock it would hold.
fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target().join("ebpf")
}

/// Keeps the copy's time of change when nothing changed, so that nothing built from it is rebuilt.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}

//! `cargo xtask toolchain`: which cargo builds the eBPF programs, for `scripts/setup`.

use anyhow::Result;

use super::{Verb, no_arguments};
use crate::Workspace;
use crate::toolchain::Toolchain;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "toolchain",
    help: "print the cargo for the eBPF build and the major version of its LLVM",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    let toolchain = Toolchain::for_bpf(workspace.tools())?;
    println!(
        "{} {}",
        toolchain.cargo_path().display(),
        toolchain.llvm_major()
    );
    Ok(())
}

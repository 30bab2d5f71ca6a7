//! `cargo xtask build`: the eBPF object, then the static release binaries with it inside.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{Verb, ebpf, no_arguments};
use crate::Workspace;
use crate::arch::Arch;
use crate::target::Target;
use crate::{command, elf};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "build",
    help: "the static release binaries into target/release [--arch arm64: into target/release-arm64]",
    run,
};

/// One cargo command each: packages built together share their features, and
/// the plugin shall not carry the loader that the others need.
const PACKAGES: &[&[&str]] = &[&["sockway-cni"], &["sockway", "sockway-e2e"]];

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let (arch, rest) = Arch::take(arguments)?;
    no_arguments(&rest)?;
    build_for(workspace, arch, &[])
}

/// Where the binaries are.
pub fn directory(workspace: &Workspace) -> PathBuf {
    directory_of(workspace, Arch::HOST)
}

/// Where those of an architecture are.
pub fn directory_of(workspace: &Workspace, arch: Arch) -> PathBuf {
    let target = workspace.target();
    if arch == Arch::HOST {
        target.join("release")
    } else {
        target.join(format!("release-{}", arch.name()))
    }
}

/// Builds everything.
///
/// # Errors
/// When a build fails, a binary is not static, or cannot be put in its place.
pub fn build(workspace: &Workspace) -> Result<()> {
    build_with(workspace, &[])
}

/// Builds everything and further packages, for tests.
///
/// # Errors
/// As for [`build`].
pub fn build_with(workspace: &Workspace, further: &[&str]) -> Result<()> {
    build_for(workspace, Arch::HOST, further)
}

/// Builds everything and further packages for an architecture; the programs are one object for all.
///
/// # Errors
/// As for [`build`].
pub fn build_for(workspace: &Workspace, arch: Arch, further: &[&str]) -> Result<()> {
    let target = Target::choose(workspace, arch)?;
    let object = ebpf::build(workspace, &[])?;
    eprintln!("build: static, for {}", target.triple());
    let further = if further.is_empty() {
        None
    } else {
        Some(further)
    };
    for packages in PACKAGES.iter().copied().chain(further) {
        let mut cargo = target.cargo(workspace, "build");
        cargo.arg("--release");
        cargo.args(packages.iter().flat_map(|package| ["--package", package]));
        cargo.env("SOCKWAY_EBPF_OBJECT", &object);
        command::run(&mut cargo)?;
        let built = workspace.target().join(target.triple()).join("release");
        for package in packages {
            place(
                arch,
                &built.join(package),
                &directory_of(workspace, arch).join(package),
            )?;
        }
    }
    Ok(())
}

/// Checks that it is static and for its architecture, and copies it, by rename: the old one may be running.
fn place(arch: Arch, from: &Path, to: &Path) -> Result<()> {
    let machine = elf::architecture(from)?;
    if machine != arch.name() {
        bail!("{} is for {machine}, not {}", from.display(), arch.name());
    }
    if let Some(loader) = elf::loader(from)? {
        bail!(
            "{} is not static: it asks for the loader {loader}",
            from.display()
        );
    }
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let new = to.with_extension("new");
    fs::copy(from, &new).with_context(|| format!("cannot write {}", new.display()))?;
    let size = fs::metadata(&new)
        .map(|metadata| metadata.len() / 1024)
        .unwrap_or_default();
    fs::rename(&new, to).with_context(|| format!("cannot write {}", to.display()))?;
    eprintln!("build: {} (static, {machine}, {size} KiB)", to.display());
    Ok(())
}

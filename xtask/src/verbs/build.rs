//! `cargo xtask build`: the eBPF object, then the static release binaries with it inside.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{Verb, ebpf, no_arguments};
use crate::Workspace;
use crate::{cargo, command, elf};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "build",
    help: "build the static release binaries into target/release",
    run,
};

/// One cargo command each: packages built together share their features, and
/// the plugin shall not carry the loader that the others need.
const PACKAGES: &[&[&str]] = &[&["sockway-cni"], &["sockway", "sockway-e2e"]];

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    build(workspace)
}

/// Where the binaries are.
pub fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target().join("release")
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
    let object = ebpf::build(workspace, &[])?;
    let target = Target::choose()?;
    eprintln!("build: static, for {}", target.triple);
    let further = if further.is_empty() {
        None
    } else {
        Some(further)
    };
    for packages in PACKAGES.iter().copied().chain(further) {
        let mut cargo = cargo::cargo(workspace);
        cargo.args(["build", "--release", "--target", &target.triple]);
        cargo.args(packages.iter().flat_map(|package| ["--package", package]));
        cargo.env("SOCKWAY_EBPF_OBJECT", &object);
        if let Some(flags) = &target.flags {
            cargo
                .env_remove("CARGO_ENCODED_RUSTFLAGS")
                .env("RUSTFLAGS", flags);
        }
        command::run(&mut cargo)?;
        let built = workspace.target().join(&target.triple).join("release");
        for package in packages {
            place(&built.join(package), &directory(workspace).join(package))?;
        }
    }
    Ok(())
}

/// What the binaries are compiled for.
struct Target {
    triple: String,
    /// `RUSTFLAGS`, where the default ones do not link statically.
    flags: Option<String>,
}

impl Target {
    /// musl where its standard library is installed (it starts fastest), else the host's.
    fn choose() -> Result<Self> {
        let host = cargo::host()?;
        let musl = host.replace("-gnu", "-musl");
        if cargo::has_std(&musl)? {
            return Ok(Self {
                triple: musl,
                flags: None,
            });
        }
        let flags = env::var("RUSTFLAGS").unwrap_or_default();
        let flags = format!("{flags} -C target-feature=+crt-static")
            .trim()
            .to_owned();
        Ok(Self {
            triple: host,
            flags: Some(flags),
        })
    }
}

/// Checks that it is static and copies it, by rename: the old one may be running.
fn place(from: &Path, to: &Path) -> Result<()> {
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
    eprintln!("build: {} (static, {size} KiB)", to.display());
    Ok(())
}

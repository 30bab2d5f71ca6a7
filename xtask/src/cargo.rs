//! The cargo for everything but the eBPF programs: the one that runs us.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{Workspace, command};

/// A cargo command in the workspace's root that builds into its target directory;
/// in CI one that refuses a `Cargo.lock` out of date.
pub fn cargo(workspace: &Workspace) -> Command {
    in_workspace(Command::new(path()), workspace)
}

/// The same of another cargo.
pub fn in_workspace(mut command: Command, workspace: &Workspace) -> Command {
    if env::var_os("CI").is_some() {
        command.arg("--locked");
    }
    command
        .current_dir(workspace.root())
        .env("CARGO_TARGET_DIR", workspace.target());
    // An object named from outside would turn unit tests into something else;
    // the verbs that embed one name it themselves.
    command
        .env_remove("SOCKWAY_EBPF_OBJECT")
        .env_remove("LD_LIBRARY_PATH");
    command
}

/// The program.
pub fn path() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The compiler that this cargo uses.
fn rustc() -> PathBuf {
    let sibling = Path::new(&path()).with_file_name("rustc");
    env::var_os("RUSTC").map_or(sibling, PathBuf::from)
}

/// The target triple of this machine.
///
/// # Errors
/// When rustc does not run or does not say it.
pub fn host() -> Result<String> {
    let version = command::output(Command::new(rustc()).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host
        .with_context(|| format!("rustc -vV names no host: {version:?}"))?
        .to_owned())
}

/// The minor version of the compiler: 95 for 1.95.0.
///
/// # Errors
/// As [`host`].
pub fn minor() -> Result<u32> {
    let version = command::output(Command::new(rustc()).arg("-vV"))?;
    let minor = version.lines().find_map(|line| {
        line.strip_prefix("release: 1.")?
            .split('.')
            .next()?
            .parse()
            .ok()
    });
    minor.with_context(|| format!("rustc -vV names no release: {version:?}"))
}

/// Whether the standard library is installed for that target.
///
/// # Errors
/// When rustc does not run; a target unknown to it is no error.
pub fn has_std(target: &str) -> Result<bool> {
    let mut rustc = Command::new(rustc());
    let libraries = command::output(rustc.args(["--print", "target-libdir", "--target", target]))?;
    let Ok(entries) = Path::new(libraries.trim()).read_dir() else {
        return Ok(false);
    };
    Ok(entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    }))
}

//! What guests find in their memory: the programs under test and what those run.
//!
//! A guest has no disk. Its root is an archive that the kernel unpacks: one for all
//! guests, and a small one for each with its modules.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::root::Root;
use super::{Kernel, programs};
use crate::arch::Arch;
use crate::target::Target;
use crate::verbs::{build, ebpf};
use crate::{Workspace, cargo, command};

/// The guest's first process.
const INIT: &str = include_str!("init.sh");
/// Where the release binaries and the tests lie in a guest.
const HOME: &str = "opt/sockway";
/// Release binaries, built by [`build::build_for`].
const PROGRAMS: [&str; 4] = ["sockway", "sockway-cni", "sockway-e2e", "sockway-semantics"];
/// Tests of the real programs, of the package `sockway-datapath`.
const TESTS: [&str; 2] = ["privileged_datapath", "privileged_registry"];

/// Builds everything and packs the archive that all guests share.
///
/// # Errors
/// When something cannot be built, found or packed.
pub fn build(workspace: &Workspace, arch: Arch, directory: &Path) -> Result<PathBuf> {
    build::build_for(workspace, arch, &["sockway-semantics"])?;
    let root = Root::new(directory.join("root"))?;
    for empty in ["dev", "proc", "sys", "run", "tmp", "var/lib", "var/log"] {
        root.directory(Path::new(empty))?;
    }
    let init = root.write("init", INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    root.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
    let notes = programs::fill(workspace, arch, &root)?;
    root.link("busybox", "bin/sh")?;
    root.write(&format!("{HOME}/target/tools.env"), &notes)?;
    for program in PROGRAMS {
        let from = build::directory_of(workspace, arch).join(program);
        root.copy(&from, &format!("{HOME}/target/release/{program}"))?;
    }
    for (name, path) in tests(workspace, arch)? {
        root.program(&path, &format!("{HOME}/tests/{name}"))?;
    }
    let archive = directory.join("root.cpio");
    root.pack(&archive)?;
    Ok(archive)
}

/// The archive of one guest: its modules, and `settings` for `init.sh`.
///
/// # Errors
/// When it cannot be written.
pub fn of_kernel(kernel: &Kernel, settings: &str, directory: &Path) -> Result<PathBuf> {
    let root = Root::new(directory.join(format!("{}.root", kernel.name)))?;
    let modules = kernel.directory.join("modules");
    let entries =
        fs::read_dir(&modules).with_context(|| format!("cannot list {}", modules.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        root.copy(&path, &format!("modules/{name}"))?;
    }
    root.write("settings", settings)?;
    let archive = directory.join(format!("{}.cpio", kernel.name));
    root.pack(&archive)?;
    Ok(archive)
}

/// The tests' programs: name and path.
///
/// Static for another architecture, whose libraries this machine does not have.
fn tests(workspace: &Workspace, arch: Arch) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut cargo = match arch {
        Arch::Amd64 => {
            let mut cargo = cargo::cargo(workspace);
            cargo.arg("test");
            cargo
        }
        Arch::Arm64 => Target::choose(workspace, arch)?.cargo(workspace, "test"),
    };
    cargo
        .args(["--no-run", "--package", "sockway-datapath"])
        .args(TESTS.iter().flat_map(|name| ["--test", name]))
        .args(["--message-format", "json"])
        .env("SOCKWAY_EBPF_OBJECT", ebpf::build(workspace, &[])?);
    let messages = command::output(&mut cargo)?;
    let mut found = Vec::new();
    for message in messages.lines() {
        let message: serde_json::Value =
            serde_json::from_str(message).context("cannot understand cargo's messages")?;
        let name = message["target"]["name"].as_str();
        let test = TESTS.into_iter().find(|&test| Some(test) == name);
        if let (Some(test), Some(path)) = (test, message["executable"].as_str()) {
            found.push((test, PathBuf::from(path)));
        }
    }
    if found.len() != TESTS.len() {
        bail!("cargo built {found:?}, not {TESTS:?}");
    }
    Ok(found)
}

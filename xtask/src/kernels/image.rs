//! What guests find in their memory: the programs under test and what those run.
//!
//! A guest has no disk. Its root is an archive that the kernel unpacks: one for all
//! guests, with this machine's libraries, and a small one for each with its modules.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Kernel;
use crate::verbs::{build, ebpf};
use crate::{Workspace, cargo, command};

/// The guest's first process.
const INIT: &str = include_str!("init.sh");
/// Where the release binaries and the tests lie in a guest.
const HOME: &str = "opt/sockway";
/// Release binaries, built by [`build::build_with`].
const PROGRAMS: [&str; 4] = ["sockway", "sockway-cni", "sockway-e2e", "sockway-semantics"];
/// Tests of the real programs, of the package `sockway-datapath`.
const TESTS: [&str; 2] = ["privileged_datapath", "privileged_registry"];
/// The reference plugins that pods are made with.
const PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "tuning"];

/// A root being filled.
struct Root {
    at: PathBuf,
}

/// Builds everything and packs the archive that all guests share.
///
/// # Errors
/// When something cannot be built, found or packed.
pub fn build(workspace: &Workspace, directory: &Path) -> Result<PathBuf> {
    build::build_with(workspace, &["sockway-semantics"])?;
    let root = Root {
        at: directory.join("root"),
    };
    match fs::remove_dir_all(&root.at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", root.at.display()));
        }
        _ => {}
    }
    for empty in ["dev", "proc", "sys", "run", "tmp", "var/lib", "var/log"] {
        root.directory(Path::new(empty))?;
    }
    let init = root.write("init", INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    root.copy(&which("busybox")?, "bin/busybox")?;
    root.link("busybox", "bin/sh")?;
    root.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
    network_tools(&root)?;
    tools(workspace, &root)?;
    for program in PROGRAMS {
        let from = build::directory(workspace).join(program);
        root.copy(&from, &format!("{HOME}/target/release/{program}"))?;
    }
    for (name, path) in tests(workspace)? {
        root.program(&path, &format!("{HOME}/tests/{name}"))?;
    }
    let archive = directory.join("root.cpio");
    pack(&root.at, &archive)?;
    Ok(archive)
}

/// The archive of one guest: its modules, and `settings` for `init.sh`.
///
/// # Errors
/// When it cannot be written.
pub fn of_kernel(kernel: &Kernel, settings: &str, directory: &Path) -> Result<PathBuf> {
    let root = Root {
        at: directory.join(format!("{}.root", kernel.name)),
    };
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
    pack(&root.at, &archive)?;
    Ok(archive)
}

/// `ip`, and iptables with its extensions.
fn network_tools(root: &Root) -> Result<()> {
    // Where `init.sh` calls it.
    root.program(&which("ip")?, "usr/bin/ip")?;
    let iptables = which("xtables-nft-multi")?;
    root.program(&iptables, "usr/sbin/xtables-nft-multi")?;
    for name in ["iptables", "ip6tables"] {
        root.link("xtables-nft-multi", &format!("usr/sbin/{name}"))?;
    }
    let libraries = libraries(&iptables)?;
    let extensions = libraries.iter().find_map(|library| {
        let directory = library.parent()?.join("xtables");
        directory.is_dir().then_some(directory)
    });
    // Merged-/usr systems name the libraries below /lib, the extensions below /usr/lib.
    let directory = extensions.context("iptables' extensions are not beside its libraries")?;
    let inside = fs::canonicalize(&directory)?;
    for entry in fs::read_dir(&inside)? {
        let path = entry?.path();
        root.copy(&path, &path.to_string_lossy())?;
    }
    Ok(())
}

/// Envoy, cnitool and the reference plugins, and where they are.
fn tools(workspace: &Workspace, root: &Root) -> Result<()> {
    let tool = |name: &str| {
        let path = workspace.tools().get(name).map(PathBuf::from);
        path.with_context(|| format!("{name} is not known: run scripts/setup kernels"))
    };
    let [envoy, cnitool] = ["opt/tools/envoy", "opt/tools/cnitool"];
    root.program(&tool("SOCKWAY_ENVOY")?, envoy)?;
    root.program(&tool("SOCKWAY_CNITOOL")?, cnitool)?;
    for plugin in PLUGINS {
        let from = tool("SOCKWAY_CNI_PLUGINS")?.join(plugin);
        root.program(&from, &format!("opt/tools/plugins/{plugin}"))?;
    }
    let notes = format!(
        "SOCKWAY_ENVOY=/{envoy}\nSOCKWAY_CNITOOL=/{cnitool}\nSOCKWAY_CNI_PLUGINS=/opt/tools/plugins\n"
    );
    root.write(&format!("{HOME}/target/tools.env"), &notes)?;
    Ok(())
}

/// The tests' programs: name and path.
fn tests(workspace: &Workspace) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut cargo = cargo::cargo(workspace);
    cargo
        .args(["test", "--no-run", "--package", "sockway-datapath"])
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

impl Root {
    fn directory(&self, inside: &Path) -> Result<()> {
        let path = self.at.join(inside);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))
    }

    /// The path of a file of the guest, its directory made.
    fn place(&self, inside: &str) -> Result<PathBuf> {
        let inside = Path::new(inside.trim_start_matches('/'));
        if let Some(parent) = inside.parent() {
            self.directory(parent)?;
        }
        Ok(self.at.join(inside))
    }

    fn write(&self, inside: &str, text: &str) -> Result<PathBuf> {
        let path = self.place(inside)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn link(&self, to: &str, inside: &str) -> Result<()> {
        let path = self.place(inside)?;
        symlink(to, &path).with_context(|| format!("cannot create {}", path.display()))
    }

    fn copy(&self, from: &Path, inside: &str) -> Result<()> {
        let to = self.place(inside)?;
        fs::copy(from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        Ok(())
    }

    /// A program with the libraries that it asks for.
    fn program(&self, from: &Path, inside: &str) -> Result<()> {
        self.copy(from, inside)?;
        for library in libraries(from)? {
            self.copy(&library, &library.to_string_lossy())?;
        }
        Ok(())
    }
}

/// The libraries and the loader that a program asks for; none where it is static.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .context("cannot start ldd")?;
    // ldd fails for static programs.
    Ok(paths(&String::from_utf8_lossy(&output.stdout)))
}

/// The paths in `ldd`'s output: `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`.
fn paths(output: &str) -> Vec<PathBuf> {
    let words = output.lines().filter_map(|line| {
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        path.split_whitespace().next()
    });
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// A program on `PATH` or where only root looks.
fn which(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("there is no {name} here: run scripts/setup kernels"))
}

/// Packs a directory for the kernel to unpack; not compressed: that would cost a guest more.
fn pack(directory: &Path, archive: &Path) -> Result<()> {
    let file =
        File::create(archive).with_context(|| format!("cannot create {}", archive.display()))?;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "find . | cpio -o -H newc -R 0:0 --quiet"])
        .current_dir(directory)
        .stdout(file);
    command::run(&mut shell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found() {
        let output = "\tlinux-vdso.so.1 (0x00007f)\n\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n\tlibgone.so => not found\n";
        let found = paths(output);
        let expected = ["/lib/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(paths("\tnot a dynamic executable\n").is_empty());
    }
}

//! What guests run beside our own programs: a shell, `ip`, iptables, the reference plugins,
//! Envoy and cnitool.
//!
//! Guests of this machine's architecture have this machine's, with its libraries. Those of arm64
//! have Debian's packages, unpacked, on whichever machine.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::root::{Root, libraries};
use crate::Workspace;
use crate::arch::Arch;

/// The reference plugins that pods are made with.
const PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "tuning"];

/// Where they lie in a guest.
const ENVOY: &str = "opt/tools/envoy";
const CNITOOL: &str = "opt/tools/cnitool";

/// Fills a root with them; the lines of `tools.env` that say where they are.
pub(super) fn fill(workspace: &Workspace, arch: Arch, root: &Root) -> Result<String> {
    match arch {
        Arch::Amd64 => {
            root.copy(&which("busybox")?, "bin/busybox")?;
            network_tools(root)?;
            tools(workspace, root)
        }
        Arch::Arm64 => {
            let home = super::home(workspace, arch)?;
            root.tree(&home.join("guest/root"))?;
            iptables(root)?;
            // Their libraries are the C library's, which the packages brought.
            root.copy(&home.join("envoy/envoy"), ENVOY)?;
            root.copy(&home.join("cnitool/cnitool"), CNITOOL)?;
            Ok(notes("/usr/lib/cni"))
        }
    }
}

/// `ip`, and iptables with its extensions.
fn network_tools(root: &Root) -> Result<()> {
    // Where `init.sh` calls it.
    root.program(&which("ip")?, "usr/bin/ip")?;
    let program = which("xtables-nft-multi")?;
    root.program(&program, "usr/sbin/xtables-nft-multi")?;
    iptables(root)?;
    let libraries = libraries(&program)?;
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

/// The names that packages leave to whoever configures them.
fn iptables(root: &Root) -> Result<()> {
    for name in ["iptables", "ip6tables"] {
        root.link("xtables-nft-multi", &format!("usr/sbin/{name}"))?;
    }
    Ok(())
}

/// Envoy, cnitool and the reference plugins, and where they are.
fn tools(workspace: &Workspace, root: &Root) -> Result<String> {
    let tool = |name: &str| {
        let path = workspace.tools().get(name).map(PathBuf::from);
        path.with_context(|| format!("{name} is not known: run scripts/setup kernels"))
    };
    root.program(&tool("SOCKWAY_ENVOY")?, ENVOY)?;
    root.program(&tool("SOCKWAY_CNITOOL")?, CNITOOL)?;
    for plugin in PLUGINS {
        let from = tool("SOCKWAY_CNI_PLUGINS")?.join(plugin);
        root.program(&from, &format!("opt/tools/plugins/{plugin}"))?;
    }
    Ok(notes("/opt/tools/plugins"))
}

fn notes(plugins: &str) -> String {
    format!("SOCKWAY_ENVOY=/{ENVOY}\nSOCKWAY_CNITOOL=/{CNITOOL}\nSOCKWAY_CNI_PLUGINS={plugins}\n")
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

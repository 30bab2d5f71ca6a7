//! Which Rust toolchain builds the eBPF programs.
//!
//! `core` has to be built for the BPF target, which takes the sources of the
//! standard library and unstable cargo flags: a nightly has both, and so has any
//! stable toolchain with the sources and `RUSTC_BOOTSTRAP=1`, for example the
//! one that Debian packages.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::command;
use crate::tools::{BPF_CARGO, BPF_LLVM, Tools};

/// The workspace's `rust-version`.
const OLDEST_MINOR: u32 = 95;

/// A cargo and the rustc next to it.
#[derive(Debug)]
pub struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    release: String,
    minor: u32,
    llvm_major: u32,
}

impl Toolchain {
    /// The first toolchain that can build `core` for BPF: one named by
    /// `SOCKWAY_BPF_CARGO`, else a nightly of rustup's, else the distribution's,
    /// else a stable one of rustup's.
    ///
    /// # Errors
    /// When there is none; the text says of each one found why it will not do.
    pub fn for_bpf(tools: &Tools) -> Result<Self> {
        let mut refused = vec![
            "no Rust toolchain here can build the eBPF programs: run scripts/setup build"
                .to_owned(),
        ];
        for cargo in candidates(tools) {
            match Self::inspect(&cargo, tools) {
                Ok(toolchain) => return Ok(toolchain),
                Err(error) => refused.push(format!("  {}: {error:#}", cargo.display())),
            }
        }
        bail!("{}", refused.join("\n"))
    }

    fn inspect(cargo: &Path, tools: &Tools) -> Result<Self> {
        let rustc = cargo.with_file_name("rustc");
        let version = command::output(Command::new(&rustc).arg("-vV"))?;
        let (release, minor, llvm_major) = parse_version(&version)?;
        if minor < OLDEST_MINOR {
            bail!("is {release}, older than 1.{OLDEST_MINOR}");
        }
        let sysroot = command::output(Command::new(&rustc).args(["--print", "sysroot"]))?;
        let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.lock");
        if !sources.is_file() {
            bail!(
                "has no sources of the standard library ({} is missing)",
                sources.display()
            );
        }
        let linker = tools
            .get(BPF_LLVM)
            .and_then(|major| major.parse::<u32>().ok());
        if let Some(linker) = linker.filter(|linker| *linker < llvm_major) {
            bail!(
                "writes bitcode of LLVM {llvm_major}, but bpf-linker is built with LLVM {linker}"
            );
        }
        let cargo = cargo.to_path_buf();
        Ok(Self {
            cargo,
            rustc,
            release,
            minor,
            llvm_major,
        })
    }

    /// One line for a person.
    pub fn describe(&self) -> String {
        let Self {
            cargo,
            rustc: _,
            release,
            minor: _,
            llvm_major,
        } = self;
        format!("{} (rustc {release}, LLVM {llvm_major})", cargo.display())
    }

    /// Its cargo.
    pub fn cargo_path(&self) -> &Path {
        &self.cargo
    }

    /// The major version of the LLVM it writes bitcode with.
    pub fn llvm_major(&self) -> u32 {
        self.llvm_major
    }

    /// The minor version of its compiler: 95 for 1.95.0.
    pub fn minor(&self) -> u32 {
        self.minor
    }

    /// A cargo command, free of what an outer cargo or rustup left in the environment.
    pub fn cargo(&self) -> Command {
        self.command(&self.cargo)
    }

    /// Its `cargo clippy`, likewise.
    pub fn clippy(&self) -> Command {
        let mut command = self.command(&self.cargo.with_file_name("cargo-clippy"));
        // It starts the cargo named here, and else whichever is in PATH.
        command.env("CARGO", &self.cargo).arg("clippy");
        command
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1");
        for name in [
            "CARGO",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "LD_LIBRARY_PATH",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTDOC",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            command.env_remove(name);
        }
        command
    }
}

/// Release, minor version and LLVM's major version out of `rustc -vV`.
fn parse_version(text: &str) -> Result<(String, u32, u32)> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let release = field("release:");
    let minor = release.and_then(|release| release.split('.').nth(1)?.parse().ok());
    let llvm = field("LLVM version:").and_then(|version| version.split('.').next()?.parse().ok());
    match (release, minor, llvm) {
        (Some(release), Some(minor), Some(llvm)) => Ok((release.to_owned(), minor, llvm)),
        _ => bail!("rustc -vV says neither release nor LLVM version: {text:?}"),
    }
}

fn candidates(tools: &Tools) -> Vec<PathBuf> {
    if let Some(cargo) = tools.get(BPF_CARGO) {
        return vec![PathBuf::from(cargo)];
    }
    let (nightly, stable): (Vec<_>, Vec<_>) = rustup_toolchains()
        .into_iter()
        .partition(|directory| file_name(directory).starts_with("nightly"));
    let distribution = children(Path::new("/usr/lib"))
        .into_iter()
        .filter(|directory| file_name(directory).starts_with("rust-"))
        .chain([PathBuf::from("/usr"), PathBuf::from("/usr/local")]);
    let ordered = nightly.into_iter().chain(distribution).chain(stable);
    ordered
        .map(|directory| directory.join("bin/cargo"))
        .filter(|cargo| cargo.is_file())
        .collect()
}

fn rustup_toolchains() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")));
    home.map(|home| children(&home.join("toolchains")))
        .unwrap_or_default()
}

/// Newest name first; nothing when there is no such directory.
fn children(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    found.sort_unstable();
    found.reverse();
    found
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(OsStr::to_string_lossy)
        .unwrap_or_default()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_versions() {
        let text = "rustc 1.97.0-nightly (abc 2026-01-01)\nhost: x\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(
            parse_version(text).unwrap(),
            ("1.97.0-nightly".to_owned(), 97, 22)
        );
    }

    #[test]
    fn says_what_it_could_not_read() {
        assert!(
            parse_version("gcc 12")
                .unwrap_err()
                .to_string()
                .contains("gcc 12")
        );
    }
}

//! What static binaries are compiled for, and with what.
//!
//! Whatever standard library the cargo in use has for the architecture will do. Where it has none,
//! as the distribution's packages and a rustup that cannot download, the toolchain that builds
//! `core` for BPF builds `std` for it too, out of the same sources.

use std::env;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::arch::Arch;
use crate::toolchain::Toolchain;
use crate::{Workspace, cargo, command};

/// An architecture's target.
#[derive(Debug)]
pub struct Target {
    triple: String,
    /// `RUSTFLAGS`, where the default ones do not link statically.
    flags: Option<String>,
    /// Links for another architecture than this machine's.
    linker: Option<String>,
    /// Builds the standard library.
    std: Option<Toolchain>,
}

impl Target {
    /// musl where its standard library is installed (it starts fastest), else glibc.
    ///
    /// # Errors
    /// When nothing here can build for it; the text says what is missing.
    pub fn choose(workspace: &Workspace, arch: Arch) -> Result<Self> {
        if arch == Arch::HOST {
            return Self::of(&cargo::host()?, None, |_| Ok(None));
        }
        let linker = format!("{}-linux-gnu-gcc", arch.machine());
        command::output(Command::new(&linker).arg("-dumpversion")).with_context(|| {
            format!("{linker} links for {0}: run scripts/setup {0}", arch.name())
        })?;
        let gnu = format!("{}-unknown-linux-gnu", arch.machine());
        Self::of(&gnu, Some(linker), |gnu| {
            if cargo::has_std(gnu)? {
                return Ok(None);
            }
            Toolchain::for_bpf(workspace.tools()).map(Some)
        })
    }

    fn of(
        gnu: &str,
        linker: Option<String>,
        std: impl FnOnce(&str) -> Result<Option<Toolchain>>,
    ) -> Result<Self> {
        let musl = gnu.replace("-gnu", "-musl");
        if cargo::has_std(&musl)? {
            return Ok(Self {
                triple: musl,
                flags: None,
                linker,
                std: None,
            });
        }
        let flags = env::var("RUSTFLAGS").unwrap_or_default();
        let flags = format!("{flags} -C target-feature=+crt-static")
            .trim()
            .to_owned();
        Ok(Self {
            triple: gnu.to_owned(),
            flags: Some(flags),
            linker,
            std: std(gnu)?,
        })
    }

    /// As rustc names it.
    pub fn triple(&self) -> &str {
        &self.triple
    }

    /// A cargo command of that name for this target.
    pub fn cargo(&self, workspace: &Workspace, name: &str) -> Command {
        let mut cargo = match &self.std {
            None => cargo::cargo(workspace),
            Some(toolchain) => cargo::in_workspace(toolchain.cargo(), workspace),
        };
        cargo.args([name, "--target", &self.triple]);
        if self.std.is_some() {
            cargo.arg("-Zbuild-std=std,panic_abort,test");
        }
        if let Some(flags) = &self.flags {
            cargo
                .env_remove("CARGO_ENCODED_RUSTFLAGS")
                .env("RUSTFLAGS", flags);
        }
        if let Some(linker) = &self.linker {
            let triple = self.triple.to_uppercase().replace('-', "_");
            cargo.env(format!("CARGO_TARGET_{triple}_LINKER"), linker);
        }
        cargo
    }
}

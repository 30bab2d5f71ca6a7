//! The project's own commands, run as `cargo xtask VERB` or through the Makefile.

pub mod arch;
pub mod cargo;
pub mod command;
pub mod e2e;
pub mod elf;
pub mod interrupt;
pub mod kernels;
pub mod members;
pub mod ring;
pub mod suite;
pub mod target;
pub mod toolchain;
pub mod tools;
pub mod tracked;
pub mod translation;
pub mod verbs;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::tools::Tools;

/// What every verb needs to know.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    tools: Tools,
}

impl Workspace {
    /// The workspace this program was built from, with the tools `scripts/setup` found.
    ///
    /// # Errors
    /// When the workspace has moved, or `target/tools.env` cannot be understood.
    pub fn open() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the xtask package has no parent directory")?
            .to_path_buf();
        if !root.join("Cargo.toml").is_file() {
            bail!(
                "{} is not the workspace any more: build xtask again where it is now",
                root.display()
            );
        }
        let tools = Tools::load(&root.join("target/tools.env"))?;
        Ok(Self { root, tools })
    }

    /// The directory of the root `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where every build of ours goes, whatever `CARGO_TARGET_DIR` says.
    pub fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// The eBPF object that `cargo xtask ebpf` leaves.
    pub fn ebpf_object(&self) -> PathBuf {
        self.target().join("bpf/sockway.o")
    }

    /// The tools outside the workspace.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }
}

/// Runs one verb.
///
/// # Errors
/// When there is no such verb, or when it fails.
pub fn run(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        bail!("which verb?\n{}", verbs::usage());
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        println!("{}", verbs::usage());
        return Ok(());
    }
    let Some(verb) = verbs::find(name) else {
        bail!("there is no verb {name:?}\n{}", verbs::usage());
    };
    (verb.run)(&Workspace::open()?, rest)
}

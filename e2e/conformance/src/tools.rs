//! The programs from outside that the tests run.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use sockway_testkit::mesh::tools::named;

/// What makes everything that is missing.
const REMEDY: &str = "run `scripts/setup build runtime`";
/// Reference plugins that the chains are made of.
const PLUGINS: [&str; 6] = [
    "bandwidth",
    "bridge",
    "host-local",
    "portmap",
    "ptp",
    "tuning",
];

/// Paths of everything.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// This program.
    pub(crate) this: PathBuf,
    /// The installer.
    pub(crate) sockway: PathBuf,
    /// The plugin.
    pub(crate) plugin: PathBuf,
    /// The CNI project's command-line runtime.
    pub(crate) cnitool: PathBuf,
    /// Our driver of libcni.
    pub(crate) libcni: PathBuf,
    /// Directory of the reference plugins.
    pub(crate) reference: PathBuf,
}

impl Tools {
    /// Finds everything, or names all that is missing and how to get it.
    pub(crate) fn find() -> Result<Self> {
        let this = env::current_exe().context("find this program")?;
        let built = this.parent().context("this program has no directory")?;
        let bin = named(&this, "SOCKWAY_BIN_DIR").unwrap_or_else(|| built.to_owned());
        let libcni = named(&this, "SOCKWAY_LIBCNI").unwrap_or_default();
        let tools = Self {
            this,
            sockway: bin.join("sockway"),
            plugin: bin.join("sockway-cni"),
            cnitool: libcni.join("cnitool"),
            libcni: libcni.join("sockway-libcni"),
            reference: libcni.join("plugins"),
        };
        let Self {
            this: _,
            sockway,
            plugin,
            cnitool,
            libcni,
            reference,
        } = &tools;
        let mut paths = vec![
            sockway.clone(),
            plugin.clone(),
            cnitool.clone(),
            libcni.clone(),
        ];
        paths.extend(PLUGINS.map(|name| reference.join(name)));
        let missing: Vec<_> = paths.iter().filter(|path| !path.is_file()).collect();
        if !missing.is_empty() {
            let names: Vec<_> = missing
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            bail!(
                "not there: {}; {REMEDY} and `cargo xtask build`, or set SOCKWAY_BIN_DIR and SOCKWAY_LIBCNI",
                names.join(", ")
            );
        }
        Ok(tools)
    }
}

/// The first program of that name on `PATH`, or in the administrator's directories.
pub(crate) fn on_path(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not on PATH: {REMEDY}"))
}

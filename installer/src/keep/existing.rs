//! Connections that were open already, looked for by a process of its own.
//!
//! As for the programs: reading the kernel's type information takes memory that
//! a process that runs for months would keep. It also waits for applications'
//! threads, and the keeper has repairs to make meanwhile.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::programs::SELF;
use crate::node::Wanted;
use crate::reconcile::SourceArgs;

/// The process, while it runs.
#[derive(Debug, Default)]
pub struct Looks(Option<Child>);

impl Looks {
    /// Starts one, unless one still runs. It says on standard error what it did.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn turn(&mut self, wanted: &Wanted, sources: &SourceArgs) -> Result<()> {
        if let Some(running) = &mut self.0
            && matches!(running.try_wait(), Ok(None))
        {
            return Ok(());
        }
        let child = Command::new(SELF)
            .args(["reconcile", "--existing-connections"])
            .arg("--bpffs")
            .arg(wanted.pins.root())
            .arg("--cni-bin-dir")
            .arg(&wanted.cni.cni_bin_dir)
            .arg("--cni-conf-dir")
            .arg(&wanted.cni.cni_conf_dir)
            .args(["--conf-name", &wanted.cni.conf_name])
            .arg("--cni-cache-dir")
            .arg(&sources.cni_cache_dir)
            .arg("--netns-dir")
            .arg(&sources.netns_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {SELF}"))?;
        self.0 = Some(child);
        Ok(())
    }
}

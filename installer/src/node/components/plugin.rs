//! The plugin's binary.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};

use super::{Component, Scene, Step, step};
use crate::node::Report;
use crate::node::undo::Undo;
use crate::ui;

/// See [`Component`].
#[derive(Clone, Copy, Debug)]
pub struct Plugin;

impl Component for Plugin {
    fn name(&self) -> &'static str {
        "plugin"
    }

    fn plan(&self, Scene { wanted, host, .. }: Scene<'_>) -> Result<Vec<Step>> {
        wanted.require_plugin_directory()?;
        let to = wanted.cni.plugin_path();
        let source = &host.plugin;
        let new = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        let why = match fs::symlink_metadata(&to) {
            Err(_) => "not there",
            Ok(meta) if !meta.is_file() => "no regular file: it has to be removed first",
            Ok(meta) if meta.mode() & 0o7777 != 0o755 => "there, with another mode",
            Ok(_) if fs::read(&to).is_ok_and(|old| old == new) => return Ok(Vec::new()),
            Ok(_) => "there, of another build",
        };
        let size = ui::bytes(new.len() as u64);
        let what = format!("write {} ({size}, from {})", to.display(), source.display());
        Ok(vec![step(self, what, why)])
    }

    fn apply(
        &self,
        Scene { wanted, host, .. }: Scene<'_>,
        undo: &mut Undo,
        report: &mut Report,
    ) -> Result<()> {
        report.plugin_written = wanted.install_plugin(host, undo)?;
        report.plugin = wanted.cni.plugin_path();
        Ok(())
    }
}

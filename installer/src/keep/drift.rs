//! What on the node is not as it should be.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sockway_common::layout;

use super::pulse::{self, Stamp};
use crate::cni::confdir;
use crate::node::{Host, Wanted};

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drift {
    /// Programs or maps are not pinned (a reboot, or somebody removed them).
    Programs,
    /// The plugin's binary is not there or not ours.
    Plugin,
    /// A conflist does not have our entry as it should be.
    Conflist(PathBuf),
}

impl Drift {
    /// The word for it in metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Programs => "programs",
            Self::Plugin => "plugin",
            Self::Conflist(_) => "conflist",
        }
    }
}

/// Finds drift; remembers what it need not read again.
#[derive(Debug, Default)]
pub struct Detector {
    plugin: Option<Stamp>,
}

impl Detector {
    /// Looks at everything; changes nothing.
    ///
    /// # Errors
    ///
    /// Where there is no conflist to chain into (yet), or the plugin's source cannot be read.
    /// What was found besides is in `found` nevertheless; `trouble` hears what nothing here can repair.
    pub fn look(
        &mut self,
        wanted: &Wanted,
        host: &Host,
        found: &mut Vec<Drift>,
        trouble: &mut Vec<String>,
    ) -> Result<()> {
        let pins = &wanted.pins;
        let pinned = layout::MAPS.iter().all(|map| pins.map(map).exists());
        // A link outlives its cgroup, and its pin an end by force.
        let cgroup = fs::metadata(host.cgroup.path()).map(|meta| meta.ino()).ok();
        if !pinned || cgroup.is_none() || pulse::attached(wanted) != cgroup {
            found.push(Drift::Programs);
        }
        if !self.plugin_is_ours(&wanted.cni.plugin_path(), &host.plugin)? {
            found.push(Drift::Plugin);
        }
        trouble.extend(confdir::targets(&wanted.cni)?.troubles);
        for change in wanted.plan_conflists()? {
            if change.is_needed() {
                found.push(Drift::Conflist(change.path));
            }
        }
        Ok(())
    }

    fn plugin_is_ours(&mut self, path: &Path, source: &Path) -> Result<bool> {
        let is_file = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
        let stamp = Stamp::of(path).filter(|stamp| is_file && stamp.runs);
        if stamp.is_none() {
            return Ok(false);
        }
        if self.plugin == stamp {
            return Ok(true);
        }
        let ours = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        let same = fs::read(path).is_ok_and(|there| there == ours)
            && stamp.is_some_and(|s| s.mode & 0o7777 == 0o755);
        if same {
            self.plugin = stamp;
        }
        Ok(same)
    }
}

#[cfg(test)]
mod tests {
    use super::Detector;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_binary_is_read_again_only_when_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (source, path) = (dir.path().join("source"), dir.path().join("plugin"));
        fs::write(&source, "program").unwrap();
        let mut detector = Detector::default();
        assert!(!detector.plugin_is_ours(&path, &source).unwrap());
        fs::write(&path, "program").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(detector.plugin_is_ours(&path, &source).unwrap());
        fs::remove_file(&source).unwrap();
        assert!(
            detector.plugin_is_ours(&path, &source).unwrap(),
            "not read again"
        );
        fs::write(&source, "program").unwrap();
        fs::write(&path, "another").unwrap();
        assert!(!detector.plugin_is_ours(&path, &source).unwrap());
    }
}

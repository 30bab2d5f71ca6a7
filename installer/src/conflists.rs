//! The node's conflists: what has to change in them, and changing it.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use serde_json::Value;

use crate::conflist::{self, Conflist, Edit};
use crate::files::{self, Snapshot, Written};
use crate::settings::Settings;
use crate::{confdir, options::CniArgs};

/// How often to plan again because another program wrote meanwhile; for commands that run once.
pub const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// One conflist and what it should become.
#[derive(Clone, Debug)]
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// Its `cniVersion`, empty where that does not matter.
    pub version: String,
    /// Our entry after the change.
    pub entry: Option<Value>,
    old: Snapshot,
    edit: Edit,
}

/// What happened to one conflist.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The file.
    pub path: PathBuf,
    /// Whether it was written.
    pub written: Written,
    /// Our entry in it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<Value>,
    /// What it was before.
    #[serde(skip)]
    pub before: String,
}

/// What has to change so that the plugin is in every conflist that matters; nothing is written.
///
/// # Errors
///
/// Where there is no conflist that the plugin can be chained into, or our section would be wrong.
pub fn plan(cni: &CniArgs, settings: &Settings, bpffs: &Path) -> Result<Vec<Change>> {
    let directory = &cni.cni_conf_dir;
    let mut changes = Vec::new();
    for path in confdir::targets(directory, cni.conf_name())? {
        let old = files::read(&path)?;
        let list = Conflist::parse(&old.text).map_err(|p| anyhow!("{} {p}", path.display()))?;
        let version = list
            .known_version()
            .map_err(|p| anyhow!("{} {p}", path.display()))?;
        let version = version.to_owned();
        let entry = settings
            .entry(bpffs, list.ours().map(|p| &p.value))
            .map_err(|p| anyhow!("the sockway-cni section for {}: {p}", path.display()))?;
        let edit =
            conflist::insert(&old.text, &entry).map_err(|p| anyhow!("{} {p}", path.display()))?;
        changes.push(Change {
            path,
            version,
            entry: Some(entry),
            old,
            edit,
        });
    }
    Ok(changes)
}

/// What has to change so that no conflist of the directory names the plugin; nothing is written.
///
/// A file that is no conflist cannot name it: such files are left alone.
///
/// # Errors
///
/// Where the directory or a file cannot be read.
pub fn plan_removal(directory: &Path) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for name in confdir::loadable(directory)? {
        let path = directory.join(name);
        let old = match files::read(&path) {
            Ok(old) => old,
            Err(e) => {
                log::warn!("left alone: {e:#}");
                continue;
            }
        };
        match conflist::remove(&old.text) {
            Ok(Edit::Nothing) => {}
            Ok(edit) => {
                changes.push(Change {
                    path,
                    version: String::new(),
                    entry: None,
                    old,
                    edit,
                });
            }
            Err(problem) => log::debug!("left alone: {} {problem}", path.display()),
        }
    }
    Ok(changes)
}

impl Change {
    /// Whether anything would be written.
    pub fn is_needed(&self) -> bool {
        self.edit != Edit::Nothing
    }

    fn apply(&self) -> Result<Outcome> {
        let written = match &self.edit {
            Edit::Nothing => Written::Unchanged,
            Edit::Write(text) => files::replace(&self.path, &self.old, text)?,
        };
        Ok(Outcome {
            path: self.path.clone(),
            written,
            entry: self.entry.clone(),
            before: self.old.text.clone(),
        })
    }
}

/// Makes the changes that `plan` finds. Where another program writes at the same time, plans again,
/// `attempts` times in all.
///
/// The file in effect comes last: what the other is made from has to be right first.
/// `done` hears of each file that was written.
///
/// # Errors
///
/// Those of `plan` and of writing; and where another program does not stop writing.
pub fn apply(
    attempts: usize,
    plan: impl Fn() -> Result<Vec<Change>>,
    mut done: impl FnMut(&Outcome),
) -> Result<Vec<Outcome>> {
    for attempt in 0..attempts {
        let mut outcomes = Vec::new();
        for change in plan()?.iter().rev() {
            let outcome = change.apply()?;
            if outcome.written == Written::Changed {
                done(&outcome);
            }
            outcomes.push(outcome);
        }
        if outcomes.iter().all(|o| o.written != Written::Overtaken) {
            outcomes.reverse();
            return Ok(outcomes);
        }
        if attempt + 1 < attempts {
            sleep(PAUSE);
        }
    }
    bail!(
        "another program writes the CNI configuration at the same time: find and stop it, then try again"
    )
}

/// Takes back what a run put into a conflist.
///
/// # Errors
///
/// Where the file cannot be read or written.
pub fn take_back(outcome: &Outcome) -> Result<()> {
    let now = files::read(&outcome.path)?;
    let had_entry = Conflist::parse(&outcome.before).is_ok_and(|l| l.ours().is_some());
    let text = if had_entry {
        outcome.before.clone()
    } else {
        match conflist::remove(&now.text).map_err(|p| anyhow!("{} {p}", outcome.path.display()))? {
            Edit::Nothing => return Ok(()),
            Edit::Write(text) => text,
        }
    };
    files::replace(&outcome.path, &now, &text)
        .map(|_| ())
        .with_context(|| format!("cannot take the entry out of {}", outcome.path.display()))
}

#[cfg(test)]
mod tests;

//! The node's conflists: what has to change in them, and changing it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use serde_json::Value;
use sockway_common::layout::program::ESTABLISH;
use sockway_datapath::pins::DEFAULT_ROOT;

use crate::cni::CniArgs;
use crate::cni::confdir;
use crate::cni::conflist::{self, Conflist, Edit};
use crate::cni::settings::Settings;
use crate::sys::files::{self, Snapshot, Written};

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
    /// What was written.
    #[serde(skip)]
    pub after: String,
}

impl Outcome {
    /// Whether it was written.
    pub fn is_changed(&self) -> bool {
        self.written == Written::Changed
    }
}

/// What has to change so that the plugin is in every conflist that matters, and in no other that a
/// runtime may load; nothing is written.
///
/// # Errors
///
/// Where there is no conflist that the plugin can be chained into, our section would be wrong, or
/// the entry is that of another Sockway that is at work.
pub fn plan(cni: &CniArgs, settings: &Settings, bpffs: &Path) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let targets = confdir::targets(cni)?;
    for path in targets.files {
        let old = files::read(&path)?;
        let list = Conflist::parse(&old.text).map_err(|p| anyhow!("{} {p}", path.display()))?;
        let version = list
            .known_version()
            .map_err(|p| anyhow!("{} {p}", path.display()))?;
        let version = version.to_owned();
        if let Some(other) = list.ours().and_then(|p| another(&p.value, bpffs)) {
            bail!(
                "the entry in {} is of another Sockway, which is at work under {}: two of them take each other's \
                 sockets; uninstall one first (`sockway uninstall --bpffs {}`)",
                path.display(),
                other.display(),
                other.display()
            );
        }
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
    // What was in effect before another file was, such as another software's list on a fresh node.
    let inside: Vec<PathBuf> = changes.iter().map(|change| change.path.clone()).collect();
    let names = confdir::loadable(&cni.cni_conf_dir)?;
    let others = names.into_iter().map(|name| cni.cni_conf_dir.join(name));
    changes.extend(removals(others.filter(|path| !inside.contains(path))));
    Ok(changes)
}

/// The root of the pins that an entry names, where it is another one and programs are attached there.
fn another(entry: &Value, bpffs: &Path) -> Option<PathBuf> {
    let root = Path::new(entry["bpffs"].as_str().unwrap_or(DEFAULT_ROOT));
    if root == bpffs {
        return None;
    }
    let mut layouts = root.read_dir().ok()?.flatten();
    let attached = |dir: fs::DirEntry| dir.path().join(format!("link_{ESTABLISH}")).exists();
    layouts.any(attached).then(|| root.to_owned())
}

/// What has to change so that no file of the directory names the plugin; nothing is written.
///
/// Neither those that a runtime loads nor those that somebody set aside (renamed, kept as a copy)
/// and may bring back. A file that is no JSON is left alone.
///
/// # Errors
///
/// Where the directory cannot be read.
pub fn plan_removal(directory: &Path) -> Result<Vec<Change>> {
    Ok(removals(regular_files(directory)?.into_iter()))
}

/// Files of a directory that name the plugin, in whatever way: a runtime that loads one calls it.
///
/// # Errors
///
/// Where the directory cannot be read.
pub fn naming(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        // Through symbolic links too, as runtimes read. What is not text names nothing.
        let is_file = fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() < 1 << 20);
        if is_file && fs::read_to_string(&path).is_ok_and(|text| conflist::names_plugin(&text)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn regular_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    Ok(found)
}

fn removals(paths: impl Iterator<Item = PathBuf>) -> Vec<Change> {
    let mut changes = Vec::new();
    for path in paths {
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
    changes
}

impl Change {
    /// Whether an entry of ours is there now.
    pub fn has_entry(&self) -> bool {
        Conflist::parse(&self.old.text).is_ok_and(|list| list.ours().is_some())
    }

    /// The type of the plugin that ours goes behind.
    pub fn behind(&self) -> String {
        let list = Conflist::parse(&self.old.text).ok();
        let anchor = list.and_then(|list| Some(list.plugins[list.anchor().ok()?].kind.clone()));
        anchor.unwrap_or_default()
    }

    /// Whether anything would be written.
    pub fn is_needed(&self) -> bool {
        self.edit != Edit::Nothing
    }

    fn apply(&self) -> Result<Outcome> {
        let (written, after) = match &self.edit {
            Edit::Nothing => (Written::Unchanged, &self.old.text),
            Edit::Write(text) => (files::replace(&self.path, &self.old, text)?, text),
        };
        Ok(Outcome {
            path: self.path.clone(),
            written,
            entry: self.entry.clone(),
            before: self.old.text.clone(),
            after: after.clone(),
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

/// Takes back what a run put into a conflist, and nothing that another program wrote since.
///
/// # Errors
///
/// Where the file cannot be read or written.
pub fn take_back(outcome: &Outcome) -> Result<()> {
    let path = outcome.path.display();
    for _ in 0..ATTEMPTS {
        let now = files::read(&outcome.path)?;
        let text = if now.text == outcome.after {
            outcome.before.clone()
        } else {
            let before = Conflist::parse(&outcome.before).ok();
            let entry = before.as_ref().and_then(Conflist::ours).map(|p| &p.value);
            let edit = match entry {
                Some(entry) => conflist::insert(&now.text, entry),
                None => conflist::remove(&now.text),
            };
            match edit.map_err(|p| anyhow!("{path} {p}"))? {
                Edit::Nothing => return Ok(()),
                Edit::Write(text) => text,
            }
        };
        let written = files::replace(&outcome.path, &now, &text)
            .with_context(|| format!("cannot put {path} back"))?;
        if written != Written::Overtaken {
            return Ok(());
        }
        sleep(PAUSE);
    }
    bail!("another program writes {path} at the same time: take the entry out by hand")
}

#[cfg(test)]
mod tests;

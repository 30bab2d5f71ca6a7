//! The committed files, as texts.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::{Workspace, command};

/// Names and texts of the files that git knows and that match the patterns; all where there are none.
/// What was removed and is not committed yet, or is no text, is left out.
///
/// # Errors
/// When git fails.
pub fn texts(workspace: &Workspace, patterns: &[&str]) -> Result<Vec<(String, String)>> {
    let mut git = Command::new("git");
    git.current_dir(workspace.root()).args(["ls-files", "-z"]);
    let names = command::output(git.args(patterns))?;
    let names = names.split('\0').filter(|name| !name.is_empty());
    Ok(names
        .filter_map(|name| {
            let text = fs::read_to_string(workspace.root().join(name)).ok()?;
            Some((name.to_owned(), text))
        })
        .collect())
}

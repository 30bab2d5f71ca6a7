//! The workspace's members and their test targets, read from the tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::Workspace;

/// What a test target begins with, or else a test's path contains, that needs
/// root and a kernel to load programs into.
pub const PRIVILEGED: &str = "privileged";

/// The members' directories, as the root `Cargo.toml` names them.
///
/// # Errors
/// When the file cannot be read or has no such list.
pub fn directories(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let file = workspace.root().join("Cargo.toml");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let names =
        list(&text).with_context(|| format!("{} has no list of members", file.display()))?;
    Ok(names
        .into_iter()
        .map(|name| workspace.root().join(name))
        .collect())
}

fn list(text: &str) -> Option<Vec<&str>> {
    let (_, rest) = text.split_once("\nmembers = [")?;
    let (list, _) = rest.split_once(']')?;
    let names = list.split(',').map(|name| name.trim().trim_matches('"'));
    Some(names.filter(|name| !name.is_empty()).collect())
}

/// The integration tests of all members, in order.
#[derive(Debug, Default)]
pub struct Tests {
    /// Run by anyone, anywhere, apart from single tests in them.
    pub plain: Vec<String>,
    /// Privileged as a whole.
    pub privileged: Vec<String>,
}

impl Tests {
    /// Finds `tests/NAME.rs` and `tests/NAME/main.rs`, as cargo does.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn find(workspace: &Workspace) -> Result<Self> {
        let mut found = Self::default();
        for member in directories(workspace)? {
            let directory = member.join("tests");
            if !directory.is_dir() {
                continue;
            }
            let entries = fs::read_dir(&directory)
                .with_context(|| format!("cannot read {}", directory.display()))?;
            for entry in entries {
                let path = entry
                    .with_context(|| format!("cannot read {}", directory.display()))?
                    .path();
                if let Some(name) = target(&path) {
                    let list = if name.starts_with(PRIVILEGED) {
                        &mut found.privileged
                    } else {
                        &mut found.plain
                    };
                    list.push(name);
                }
            }
        }
        found.plain.sort_unstable();
        found.privileged.sort_unstable();
        Ok(found)
    }
}

fn target(path: &Path) -> Option<String> {
    let is_target = path.extension().is_some_and(|extension| extension == "rs")
        || path.join("main.rs").is_file();
    is_target.then(|| {
        path.file_stem()
            .map(|name| name.to_string_lossy().into_owned())
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_list_of_members() {
        let text = "[workspace]\nmembers = [\n  \"a\",\n  \"b\",\n]\nexclude = [\"c\"]\n";
        assert_eq!(list(text), Some(vec!["a", "b"]));
        assert_eq!(list("[workspace]\n"), None);
    }
}

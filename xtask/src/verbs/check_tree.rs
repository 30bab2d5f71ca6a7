//! `cargo xtask check-tree`: rules about the committed files that no linter knows.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{Verb, no_arguments};
use crate::Workspace;
use crate::{members, tracked, translation};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "check-tree",
    help: "members inherit the lints; no private path, no registry; translations are in step",
    run,
};

/// Directories of one machine: nothing committed may depend on them.
const PRIVATE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Hosts that package managers know by themselves, or by the user's settings.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("cra", "tes.io"),
    concat!("py", "pi.org"),
    concat!("pytho", "nhosted.org"),
    concat!("proxy.go", "lang.org"),
    concat!("sum.go", "lang.org"),
    concat!("deb.de", "bian.org"),
    concat!("archive.ub", "untu.com"),
];

/// Written by cargo, which names the registry.
const GENERATED: &[&str] = &["Cargo.lock", "ebpf/Cargo.lock"];

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    check(workspace)
}

/// Checks the tree.
///
/// # Errors
/// When a rule is broken: one line for each place.
pub fn check(workspace: &Workspace) -> Result<()> {
    let mut faults = Vec::new();
    for member in members::directories(workspace)? {
        let manifest = member.join("Cargo.toml");
        if !inherits_lints(&read(&manifest)?) {
            faults.push(format!(
                "{}: no `[lints] workspace = true`",
                manifest.display()
            ));
        }
    }
    let files = tracked::texts(workspace, &[])?.into_iter();
    for (name, text) in files.filter(|(name, _)| !GENERATED.contains(&&**name)) {
        for (number, line) in text.lines().enumerate() {
            if let Some(found) = forbidden(line) {
                faults.push(format!("{name}:{}: names {found}", number + 1));
            }
        }
    }
    faults.extend(translation::faults(workspace.root())?);
    if !faults.is_empty() {
        bail!(
            "{} places in the tree break a rule:\n  {}",
            faults.len(),
            faults.join("\n  ")
        );
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn inherits_lints(manifest: &str) -> bool {
    let lines = manifest.lines().map(str::trim);
    let mut table = lines.skip_while(|line| *line != "[lints]").skip(1);
    table
        .find(|line| !line.is_empty())
        .is_some_and(|line| line == "workspace = true")
}

/// The forbidden thing that a line names, if any.
fn forbidden(line: &str) -> Option<&'static str> {
    let host = REGISTRY_HOSTS.iter().find(|host| line.contains(**host));
    let path = PRIVATE_PATHS.iter().find(|path| {
        // Not the middle of a longer path.
        line.match_indices(**path).any(|(start, _)| {
            let before = line[..start].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || "._-})*".contains(c))
        })
    });
    host.or(path).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_forbidden() {
        for thing in PRIVATE_PATHS.iter().chain(REGISTRY_HOSTS) {
            assert_eq!(forbidden(&format!("cp {thing}x .")), Some(*thing));
        }
        assert_eq!(forbidden(&format!("cp tmp{}x .", PRIVATE_PATHS[0])), None);
        assert_eq!(forbidden("cargo install"), None);
    }

    #[test]
    fn wants_the_lints_inherited() {
        assert!(inherits_lints("[package]\n\n[lints]\nworkspace = true\n"));
        assert!(!inherits_lints(
            "[package]\n[lints.rust]\nworkspace = true\n"
        ));
        assert!(!inherits_lints("[package]\n"));
    }
}

//! The directory of CNI configurations: which file the runtime would load.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::conflist::{Conflist, ISTIO_TYPE};
use crate::files;

/// How Istio names the file that it owns (its "owned" mode): a copy of the primary one with itself.
const ISTIO_OWNED: &str = "istio-cni.conflist";

/// Names that a runtime would load, in the order in which it looks at them.
///
/// # Errors
///
/// Where the directory cannot be read.
pub fn loadable(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| {
        format!(
            "cannot read {}: name the runtime's CNI configuration directory with --cni-conf-dir",
            directory.display()
        )
    })?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let extension = Path::new(&name).extension().and_then(|e| e.to_str());
        if matches!(extension, Some("conf" | "conflist" | "json")) && !entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The files that our entry belongs into: the one that is in effect first.
///
/// With Istio's owned mode these are two. The effective file is Istio's copy,
/// which Istio makes anew from the next one: without our entry there, each
/// would undo what the other wrote.
///
/// # Errors
///
/// Where there is no configuration, or `name` is not one.
pub fn targets(directory: &Path, name: Option<&str>) -> Result<Vec<PathBuf>> {
    let names = loadable(directory)?;
    let first = match name {
        Some(name) => {
            let Some(at) = names.iter().position(|n| n == name) else {
                bail!(
                    "{} holds no {name} (it has: {}): name one of these with --conf-name",
                    directory.display(),
                    if names.is_empty() {
                        "nothing".to_owned()
                    } else {
                        names.join(", ")
                    }
                );
            };
            at
        }
        None if names.is_empty() => bail!(
            "{} holds no CNI configuration: the main CNI plugin has to be installed first",
            directory.display()
        ),
        None => 0,
    };
    let mut targets = vec![directory.join(&names[first])];
    if names[first].ends_with(ISTIO_OWNED)
        && let Some(primary) = names[first + 1..].iter().find(|n| n.ends_with(".conflist"))
    {
        let text = files::read(&targets[0])?.text;
        if Conflist::parse(&text).is_ok_and(|l| l.plugins.iter().any(|p| p.kind == ISTIO_TYPE)) {
            targets.push(directory.join(primary));
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::{loadable, targets};
    use std::fs;
    use std::path::Path;

    const ISTIO: &str =
        r#"{"cniVersion":"0.4.0","plugins":[{"type":"terway"},{"type":"istio-cni"}]}"#;
    const TERWAY: &str = r#"{"cniVersion":"0.4.0","plugins":[{"type":"terway"}]}"#;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn names(dir: &Path, name: Option<&str>) -> Vec<String> {
        let name_of =
            |p: &std::path::PathBuf| p.file_name().unwrap().to_string_lossy().into_owned();
        targets(dir, name).unwrap().iter().map(name_of).collect()
    }

    #[test]
    fn the_first_that_a_runtime_loads() {
        let dir = dir(&[
            ("10-terway.conflist", TERWAY),
            (".10-terway.conflist.sockway-tmp", ""),
            ("05-x.conflist.bak", ""),
            ("20-b.conf", "{}"),
            ("30-c.json", "{}"),
        ]);
        fs::create_dir(dir.path().join("00-dir.conf")).unwrap();
        assert_eq!(
            loadable(dir.path()).unwrap(),
            ["10-terway.conflist", "20-b.conf", "30-c.json"]
        );
        assert_eq!(names(dir.path(), None), ["10-terway.conflist"]);
        assert_eq!(names(dir.path(), Some("20-b.conf")), ["20-b.conf"]);
    }

    #[test]
    fn istio_owned_means_both() {
        let dir = dir(&[
            ("02-istio-cni.conflist", ISTIO),
            ("10-terway.conflist", TERWAY),
        ]);
        assert_eq!(
            names(dir.path(), None),
            ["02-istio-cni.conflist", "10-terway.conflist"]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let empty = dir(&[]);
        assert!(
            targets(empty.path(), None)
                .unwrap_err()
                .to_string()
                .contains("no CNI config")
        );
        let text = targets(empty.path(), Some("x.conf"))
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("x.conf") && text.contains("--conf-name"),
            "{text}"
        );
        let text = targets(Path::new("/proc/none"), None)
            .unwrap_err()
            .to_string();
        assert!(text.contains("--cni-conf-dir"), "{text}");
    }
}

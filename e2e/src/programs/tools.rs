//! The programs that are run, from `make setup`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::bed::tools::{Tools, named, on_path};

/// What makes everything that is missing.
const REMEDY: &str = "run `scripts/setup programs`";
/// Commands that are looked up on `PATH`.
const COMMANDS: [&str; 13] = [
    "curl",
    "haproxy",
    "java",
    "nc.openbsd",
    "nginx",
    "node",
    "python3",
    "redis-benchmark",
    "redis-cli",
    "redis-server",
    "sh",
    "sha256sum",
    "wget",
];

/// Where they are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// What is built from `e2e/programs/go`.
    pub(crate) go: PathBuf,
    found: Vec<(&'static str, PathBuf)>,
}

impl Programs {
    /// Finds everything, or names all that is missing.
    pub(crate) fn find(tools: &Tools) -> Result<Self> {
        let mut missing = Vec::new();
        let mut found = Vec::new();
        for name in COMMANDS {
            // Servers live where a user's PATH often does not lead.
            let path = on_path(name).or_else(|| {
                let path = Path::new("/usr/sbin").join(name);
                path.is_file().then_some(path)
            });
            match path {
                Some(path) => found.push((name, path)),
                None => missing.push(name),
            }
        }
        let go = named(&tools.this, "SOCKWAY_GO_PROGRAMS").filter(|path| path.is_file());
        if go.is_none() {
            missing.push("SOCKWAY_GO_PROGRAMS");
        }
        match go {
            Some(go) if missing.is_empty() => Ok(Self { go, found }),
            _ => bail!("missing: {} ({REMEDY})", missing.join(", ")),
        }
    }

    /// The path of one of the commands.
    pub(crate) fn get(&self, name: &str) -> Result<&Path> {
        let found = self.found.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, path)| path.as_path())
            .with_context(|| format!("{name} is not in the list of commands"))
    }
}

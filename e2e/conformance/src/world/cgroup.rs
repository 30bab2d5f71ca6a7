//! The run's cgroups: the one thing that namespaces do not take with them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sockway_testkit::{cgroup, runs};

/// Every name starts with it; then come process id and start time.
const PREFIX: &str = "sockway-conformance-";

/// A cgroup under the root of the cgroup2 hierarchy, with this process in a
/// child of it: containers' cgroups stand beside that child, and a cgroup that
/// has children with controllers may hold no processes itself.
#[derive(Debug)]
pub(super) struct Cgroup {
    pub(super) path: PathBuf,
    name: String,
    hierarchy: PathBuf,
}

impl Cgroup {
    /// Removes what dead runs left, makes the cgroup and moves this process into it.
    pub(super) fn make(hierarchy: &Path) -> Result<Self> {
        sweep();
        let name = runs::name(PREFIX).context("this process's start time")?;
        let path = hierarchy.join(&name);
        let tests = path.join("tests");
        fs::create_dir_all(&tests).with_context(|| format!("create {}", tests.display()))?;
        let made = Self {
            path,
            name,
            hierarchy: hierarchy.to_owned(),
        };
        cgroup::enter(&tests)?;
        Ok(made)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let result = cgroup::enter(&self.hierarchy).and_then(|()| remove(&self.name));
        if let Err(error) = result {
            eprintln!("sockway-conformance: clean-up: {error:#}");
        }
    }
}

/// Removes the cgroups of that name from every hierarchy: runtimes make them in
/// those of cgroup v1 too.
fn remove(name: &str) -> Result<()> {
    let mut roots = hierarchies().into_iter();
    roots.try_for_each(|root| cgroup::remove(&root.join(name)))
}

/// Mount points of every cgroup hierarchy.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let lines = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup").then(|| PathBuf::from(at))
    });
    lines.collect()
}

/// Removes what runs left that were killed.
fn sweep() {
    for root in hierarchies() {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if runs::is_left_behind(PREFIX, &name)
                && let Err(error) = remove(&name)
            {
                eprintln!("sockway-conformance: what an earlier run left: {error:#}");
            }
        }
    }
}

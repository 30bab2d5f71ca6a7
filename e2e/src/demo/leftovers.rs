//! Whether anything stays on the machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sockway_datapath::host;
use sockway_testkit::mesh::scratch::children_with_prefix;

const INTERFACES: &str = "/sys/class/net";
const MOUNTS: &str = "/proc/self/mounts";

/// What was there before.
pub(crate) struct Before {
    interfaces: BTreeSet<String>,
}

impl Before {
    /// Looks around.
    pub(crate) fn take() -> Result<Self> {
        Ok(Self {
            interfaces: interfaces()?,
        })
    }

    /// What a run of that name left, in words.
    pub(crate) fn leftovers(&self, run: &str) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for name in interfaces()?.difference(&self.interfaces) {
            left.push(format!("network interface {name}"));
        }
        for path in children_with_prefix(Path::new("/run/netns"), run) {
            left.push(format!("network namespace {}", path.display()));
        }
        let mounts = fs::read_to_string(MOUNTS).with_context(|| format!("read {MOUNTS}"))?;
        let mounts = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        left.extend(
            mounts
                .filter(|at| at.contains(run))
                .map(|at| format!("mount {at}")),
        );
        if let Some(root) = host::find_cgroup2()? {
            for path in children_with_prefix(&root, run) {
                left.push(format!("cgroup {}", path.display()));
            }
        }
        for path in children_with_prefix(Path::new("/run/sockway-e2e"), run) {
            left.push(format!("directory {}", path.display()));
        }
        left.extend(processes(run));
        Ok(left)
    }
}

fn interfaces() -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(INTERFACES).with_context(|| format!("list {INTERFACES}"))?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Processes that are in a cgroup of the run.
fn processes(run: &str) -> Vec<String> {
    let ids = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    ids.filter_map(|path| {
        let cgroups = fs::read_to_string(path.join("cgroup")).ok()?;
        let id = path.file_name()?.to_string_lossy().into_owned();
        cgroups.contains(run).then(|| format!("process {id}"))
    })
    .collect()
}

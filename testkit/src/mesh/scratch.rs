//! What a run leaves on the machine while it lasts, and its removal.
//!
//! Everything is named after the run (process id and the process's start
//! time), so that a later run can remove what a killed one left, by exact name.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sockway_datapath::host;

use crate::bpffs::{mount_at, unmount};
use crate::command::Run;
use crate::{cgroup, runs};

/// Parent of the directories of all runs.
const RUNS: &str = "/run/sockway-e2e";
/// Every name starts with it; short, as an interface's name must fit into 15 bytes.
const PREFIX: &str = "swe2e-";
/// Where libcni keeps results, unless told otherwise, which cnitool cannot be.
pub const LIBCNI_RESULTS: &str = "/var/lib/cni/results";

/// A run's directory and names.
#[derive(Debug)]
pub struct Scratch {
    name: String,
    dir: PathBuf,
    cgroup_root: PathBuf,
}

impl Scratch {
    /// Removes what dead runs left, then makes this run's directory with a BPF
    /// file system of its own and a child cgroup.
    pub fn new(counter: u32) -> Result<Self> {
        sweep()?;
        let run = runs::name(PREFIX).context("this process's start time")?;
        let name = format!("{run}-{counter}");
        let dir = Path::new(RUNS).join(&name);
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let mut scratch = Self {
            name,
            dir,
            cgroup_root: PathBuf::new(),
        };
        for sub in ["net.d", "bin", "ipam", "logs"] {
            fs::create_dir(scratch.path(sub)).with_context(|| format!("create {sub}"))?;
        }
        mount_at(&scratch.path("bpf"), "bpf")?;
        scratch.cgroup_root = if let Some(root) = host::find_cgroup2()? {
            root
        } else {
            let at = scratch.path("cgroup2");
            mount_at(&at, "cgroup2")?;
            at
        };
        fs::create_dir(scratch.cgroup()).context("create a cgroup")?;
        Ok(scratch)
    }

    /// The run's unique name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path in the run's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The cgroup that the run's pods live in.
    pub fn cgroup(&self) -> PathBuf {
        self.cgroup_root.join(&self.name)
    }

    /// The cgroup of one of its pods, below that one.
    pub fn pod_cgroup(&self, pod: &str) -> PathBuf {
        self.cgroup().join(pod)
    }

    /// Name of a network namespace of this run.
    pub fn netns(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Removes everything; an error names what could not be removed.
    pub fn remove(&self) -> Result<()> {
        remove_run(&self.name, &self.dir, &self.cgroup_root)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("sockway-e2e: clean-up: {error:#}");
        }
    }
}

/// Removes what runs left whose process is gone.
fn sweep() -> Result<()> {
    let entries = match fs::read_dir(RUNS) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("list {RUNS}"))?,
    };
    let root = host::find_cgroup2()?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !runs::is_left_behind(PREFIX, &name) {
            continue;
        }
        let dir = entry.path();
        let root = root.clone().unwrap_or_else(|| dir.join("cgroup2"));
        remove_run(&name, &dir, &root).with_context(|| format!("remove what {name} left"))?;
    }
    Ok(())
}

fn remove_run(name: &str, dir: &Path, cgroup_root: &Path) -> Result<()> {
    let mut errors = Vec::new();
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            errors.push(format!("{error:#}"));
        }
    };
    note(cgroup::end(&cgroup_root.join(name)));
    for path in children_with_prefix(Path::new("/run/netns"), &format!("{name}-")) {
        let netns = path.file_name().unwrap_or_default();
        note(Run::new("ip").args(["netns", "delete"]).arg(netns).done());
    }
    for path in children_with_prefix(Path::new(LIBCNI_RESULTS), &format!("{name}-")) {
        note(fs::remove_file(&path).with_context(|| format!("remove {}", path.display())));
    }
    for mounted in ["bpf", "cgroup2"] {
        note(unmount(&dir.join(mounted)));
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            note(Err(error).with_context(|| format!("remove {}", dir.display())));
        }
        _ => {}
    }
    // Other runs may still be there.
    drop(fs::remove_dir(RUNS));
    if errors.is_empty() {
        Ok(())
    } else {
        bail!("{}", errors.join("; "))
    }
}

/// Entries of a directory whose name starts so; none where there is no directory.
pub fn children_with_prefix(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(prefix))
        })
        .collect()
}

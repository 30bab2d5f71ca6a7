//! The node of a suite: mounts, a cgroup and a datapath of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use sockway_common::pod::OwnerKey;
use sockway_datapath::{Datapath, InstallOptions, Pins, Registry, host};
use sockway_testkit::bpffs::{mount_at, private_mounts, unmount};
use sockway_testkit::{cgroup, rows, runs};

use crate::keeper::Keeper;
use crate::place::Pod;

/// What a suite's cgroup and directory are called, before its process id.
const PREFIX: &str = "sockway-semantics-";

/// Everything the runs share; taken down when dropped.
pub(crate) struct Node {
    dir: tempfile::TempDir,
    cgroup: PathBuf,
    pins: Pins,
    registry: Mutex<Registry>,
    /// Who brings ends in late.
    pub(crate) keeper: Keeper,
    /// Rules that work with less on this kernel.
    pub(crate) limits: Vec<&'static str>,
}

impl Node {
    /// Installs the programs in a cgroup and a mount namespace of this process's own.
    ///
    /// This process must have one thread: only its later children see the mounts.
    ///
    /// `fionread`: how the kernel is taken to answer that; `None`: as it does.
    pub(crate) fn new(fionread: Option<u32>) -> Result<Self> {
        let temporary = std::env::temp_dir();
        sweep(&temporary, |path| Ok(fs::remove_dir_all(path)?))?;
        let name = runs::name(PREFIX).context("this process's start time")?;
        let dir = tempfile::Builder::new()
            .prefix(&format!("{name}."))
            .tempdir_in(temporary);
        let dir = dir.context("make a directory")?;
        private_mounts()?;
        let bpf = dir.path().join("bpf");
        mount_at(&bpf, "bpf")?;
        let root = if let Some(root) = host::find_cgroup2()? {
            root
        } else {
            let at = dir.path().join("cgroup2");
            mount_at(&at, "cgroup2")?;
            at
        };
        sweep(&root, cgroup::remove)?;
        let cgroup = root.join(name);
        fs::create_dir(&cgroup).with_context(|| format!("create {}", cgroup.display()))?;
        let pins = Pins::new(bpf.join("sockway"));
        let options = InstallOptions {
            fionread,
            ..InstallOptions::new(pins.clone(), cgroup.clone())
        };
        let report = Datapath::install(&options)
            .inspect_err(|_| drop(fs::remove_dir(&cgroup)))
            .context("load and attach the programs")?;
        let registry = Mutex::new(Registry::open(&pins)?);
        let keeper = Keeper::start(&pins)?;
        Ok(Self {
            dir,
            cgroup,
            pins,
            registry,
            keeper,
            limits: report.limits,
        })
    }

    /// The cgroup whose sockets take part.
    pub(crate) fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Where the maps are.
    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Registers a run's pod.
    pub(crate) fn register(&self, pod: Pod, scope: u32) -> Result<()> {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        register(&mut registry, pod, scope)
    }

    /// Takes a run's pod out again.
    pub(crate) fn unregister(&self, pod: Pod) -> Result<()> {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry
            .unregister(&owner(pod), &[])
            .context("unregister a pod")?;
        Ok(())
    }

    fn take_down(&self) -> Result<()> {
        Datapath::remove(&self.pins)?;
        cgroup::remove(&self.cgroup)?;
        // Lazily: the registry still holds its lock in there.
        ["cgroup2", "bpf"]
            .into_iter()
            .try_for_each(|name| unmount(&self.dir.path().join(name)))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.keeper.finish() {
            eprintln!("sockway-semantics: {error:#}");
        }
        if let Err(error) = self.take_down() {
            eprintln!(
                "sockway-semantics: clean-up of {}: {error:#}",
                self.dir.path().display()
            );
        }
    }
}

/// Registers a pod, or gives it another scope.
pub(crate) fn register(registry: &mut Registry, pod: Pod, scope: u32) -> Result<()> {
    rows::register(registry, &pod.v4.to_string(), &pod.addresses(), scope)
}

fn owner(pod: Pod) -> OwnerKey {
    OwnerKey::new(&pod.v4.to_string(), "eth0")
}

/// Removes what suites that were killed left in a directory: a later one finds it by its name.
fn sweep(directory: &Path, remove: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let list = || format!("list {}", directory.display());
    for entry in fs::read_dir(directory).with_context(list)? {
        let path = entry.with_context(list)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| runs::is_left_behind(PREFIX, name)) {
            remove(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

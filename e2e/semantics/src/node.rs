//! The node of a suite: mounts, a cgroup and a datapath of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use sockway_common::pod::{
    DEFAULT_INBOUND_PORT, DEFAULT_OUTBOUND_PORT, OwnerKey, PodRow, SandboxRow,
};
use sockway_datapath::{Datapath, InstallOptions, Pins, Registry, host};

use crate::keeper::Keeper;
use crate::place::Pod;

const NONE: Option<&str> = None;
/// What a suite's cgroup and directory are called, before its process id.
const PREFIX: &str = "sockway-semantics-";
/// How long the kernel may take to let go of a cgroup.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything the runs share; taken down when dropped.
pub(crate) struct Node {
    dir: tempfile::TempDir,
    mounted: Vec<PathBuf>,
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
        let name = format!("{PREFIX}{}", std::process::id());
        let dir = tempfile::Builder::new()
            .prefix(&format!("{name}."))
            .tempdir_in(temporary);
        let dir = dir.context("make a directory")?;
        unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace (needs root)")?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(NONE, "/", NONE, private, NONE).context("make mounts private")?;
        let mut mounted = Vec::new();
        let bpf = dir.path().join("bpf");
        mount_at(&bpf, "bpf")?;
        mounted.push(bpf.clone());
        let root = if let Some(root) = host::find_cgroup2()? {
            root
        } else {
            let at = dir.path().join("cgroup2");
            mount_at(&at, "cgroup2")?;
            mounted.push(at.clone());
            at
        };
        sweep(&root, remove_cgroup)?;
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
            mounted,
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
        remove_cgroup(&self.cgroup)?;
        for at in self.mounted.iter().rev() {
            // Lazily: the registry still holds its lock in there.
            umount2(at, MntFlags::MNT_DETACH)
                .with_context(|| format!("unmount {}", at.display()))?;
        }
        Ok(())
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
    let owner = owner(pod);
    let row = PodRow {
        owner,
        outbound_port: DEFAULT_OUTBOUND_PORT,
        inbound_port: DEFAULT_INBOUND_PORT,
        scope,
    };
    let mut sandbox = SandboxRow {
        ip_count: 4,
        part: scope,
        ..SandboxRow::default()
    };
    sandbox.ips[..4].copy_from_slice(&pod.ips());
    registry
        .register(owner, &sandbox, &row)
        .context("register a pod")
}

fn owner(pod: Pod) -> OwnerKey {
    OwnerKey::new(&pod.v4.to_string(), "eth0")
}

fn mount_at(at: &Path, fstype: &str) -> Result<()> {
    fs::create_dir(at).with_context(|| format!("create {}", at.display()))?;
    mount(
        Some("none"),
        at,
        Some(fstype),
        MsFlags::empty(),
        None::<&str>,
    )
    .with_context(|| format!("mount {fstype} at {}", at.display()))
}

/// A killed run's last sockets may keep its cgroup for a moment.
fn remove_cgroup(path: &Path) -> Result<()> {
    let started = Instant::now();
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if started.elapsed() > PATIENCE => {
                return Err(error).with_context(|| format!("remove {}", path.display()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Removes what suites that were killed left in a directory: a later one finds it by its name.
fn sweep(directory: &Path, remove: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let list = || format!("list {}", directory.display());
    for entry in fs::read_dir(directory).with_context(list)? {
        let path = entry.with_context(list)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(rest) = name.and_then(|name| name.strip_prefix(PREFIX)) else {
            continue;
        };
        let pid = rest.split('.').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            remove(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

//! Two pods with sidecars and servers, a pod without one, another node, and a
//! namespace for what is measured on one hop.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sockway_common::addr::IpKey;
use sockway_common::pod::PodRow;
use sockway_datapath::receive_hook::ReceiveHook;
use sockway_datapath::{Datapath, InstallOptions, Pins, Registry};
use sockway_testkit::mesh::keeper::Keeper;
use sockway_testkit::mesh::node::Node;
use sockway_testkit::mesh::pod::Pod;
use sockway_testkit::mesh::tools::Tools;

use crate::full::Full;
use crate::hop::Hop;
use crate::mode::Mode;
use crate::progress::Progress;
use crate::stage::{self, Stage};
use crate::tuple::Tuple;

/// Everything.
pub(crate) struct Scene {
    /// A registered pod without a sidecar.
    pub(crate) leaver: Pod,
    /// Another node.
    pub(crate) other: Pod,
    /// Where one hop is measured.
    pub(crate) hop: Hop,
    objects: PathBuf,
    another: Option<PathBuf>,
    tuple: Option<Tuple>,
    /// Sockway with full maps, while that is measured.
    pub(crate) full: Option<Full>,
    /// As in production, in the modes that are.
    keeper: Option<Keeper>,
    /// Two pods with sidecars, and the node. Last: everything else ends before it.
    pub(crate) stage: Stage,
}

impl Scene {
    /// Makes everything.
    pub(crate) fn new(
        progress: &Progress,
        concurrency: u32,
        another: Option<PathBuf>,
    ) -> Result<Self> {
        let tools = Tools::find()?;
        let objects = objects(&tools)?;
        progress.step("a node, sockway install, pods by cnitool with sidecars and servers");
        let node = Node::new(&tools)?;
        node.install()?;
        let stage = Stage::new(node, concurrency, Some(stage::fortio()?))?;
        let node = &stage.node;
        let hop = Hop::new(node)?;
        let (leaver, mut other) = (Pod::new(node, "leaver")?, Pod::new(node, "other")?);
        let away = node.scratch.cgroup();
        other.move_to(away.parent().context("the cgroup has no parent")?);
        stage::serve(node, &mut other, false)?;
        let scene = Self {
            leaver,
            other,
            hop,
            objects,
            another,
            tuple: None,
            full: None,
            keeper: None,
            stage,
        };
        scene.forget_other()?;
        Ok(scene)
    }

    /// The other node's pods are not this node's.
    fn forget_other(&self) -> Result<()> {
        let mut registry = Registry::open(&self.stage.node.pins())?;
        for ip in self.other.ips() {
            let ip = IpKey::from(ip);
            if let Some(row) = registry.pod(&ip)? {
                registry.unregister(&row.owner, &[ip])?;
            }
        }
        Ok(())
    }

    /// The maps of what is attached now.
    pub(crate) fn pins(&self) -> Pins {
        let full = self.full.as_ref().map(|full| full.pins().clone());
        full.unwrap_or_else(|| self.stage.node.pins())
    }

    /// From now on new connections are made so.
    pub(crate) fn switch(&mut self, mode: Mode) -> Result<()> {
        self.quiet()?;
        self.tuple = None;
        self.full = None;
        self.stage.pipes = mode == Mode::Pipes;
        // What it would put right is what comes next.
        if let Some(keeper) = self.keeper.take() {
            keeper.end()?;
        }
        let (pins, cgroup) = (self.stage.node.pins(), self.stage.node.scratch.cgroup());
        match mode {
            Mode::Plain | Mode::Unix => Datapath::detach(&pins).context("detach")?,
            Mode::Tuple => {
                Datapath::detach(&pins).context("detach")?;
                let object = self.objects.join("tuple.o");
                self.tuple =
                    Some(Tuple::attach(&object, &cgroup).context("the 4-tuple yardstick")?);
            }
            Mode::Full => {
                Datapath::detach(&pins).context("detach")?;
                self.set_scope(mode.scope())?;
                self.full = Some(Full::attach(&self.stage.node, &self.hop).context("full maps")?);
            }
            Mode::Auto | Mode::All | Mode::Proxy | Mode::Pipes => {
                self.set_scope(mode.scope())?;
                let scope = ["--scope", mode.word()];
                self.keeper = Some(Keeper::start(&self.stage.node, &scope)?);
            }
            Mode::Blind | Mode::Other => {
                self.set_scope(mode.scope())?;
                let mut options = InstallOptions::new(pins, cgroup);
                let object = if mode == Mode::Blind {
                    Some((self.objects.join("sockway-bench.o"), 1))
                } else {
                    self.another.clone().map(|object| (object, 0))
                };
                let (object, version) = object.context("no --object was given")?;
                options.object = Some((read(&object)?, version));
                Datapath::install(&options).context("install")?;
                // As `sockway run` does on a node where nobody asks.
                ReceiveHook::open(&self.stage.node.pins())?.release()?;
            }
        }
        Ok(())
    }

    /// Whether applications asked to be known while `work` ran. Then the hook for that is put on, and
    /// what was measured is void; else it is taken off. The keeper, where it runs, does so itself.
    pub(crate) fn learns(&self, work: impl FnOnce() -> Result<()>) -> Result<bool> {
        if self.keeper.is_some() {
            work()?;
            return Ok(true);
        }
        let pins = self.pins();
        let mut ends = ReceiveHook::open(&pins)?;
        let before = ends.asks()?;
        work()?;
        let asked = ends.asks()? != before;
        if asked {
            ends.attach()?;
        } else {
            ends.release()?;
        }
        Ok(asked)
    }

    /// Waits until nothing of the pods with sidecars is connected.
    pub(crate) fn quiet(&self) -> Result<()> {
        self.stage.quiet()
    }

    fn set_scope(&self, scope: u32) -> Result<()> {
        let mut registry = Registry::open(&self.stage.node.pins())?;
        for (ip, row) in registry.pods()? {
            if row.scope != scope {
                let sandbox = registry.sandbox(&row.owner)?;
                let sandbox = sandbox.with_context(|| format!("{ip:?} has no attachment"))?;
                registry.register(row.owner, &sandbox, &PodRow { scope, ..row })?;
            }
        }
        Ok(())
    }
}

/// Where eBPF objects are built to.
pub(crate) fn objects(tools: &Tools) -> Result<PathBuf> {
    let target = tools.sockway.parent().and_then(Path::parent);
    Ok(target.context("no build directory")?.join("bpf"))
}

pub(crate) fn read(object: &Path) -> Result<Vec<u8>> {
    std::fs::read(object).with_context(|| format!("read {}", object.display()))
}

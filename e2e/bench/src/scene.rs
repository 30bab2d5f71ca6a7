//! Two pods with sidecars and servers, a pod without one, another node, and a
//! namespace for what is measured on one hop.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sockway_common::addr::IpKey;
use sockway_common::pod::PodRow;
use sockway_datapath::ends::Ends;
use sockway_datapath::{Datapath, InstallOptions, Pins, Registry};
use sockway_e2e::bed::node::Node;
use sockway_e2e::bed::pod::{self, Pod};
use sockway_e2e::bed::sidecar::{Protocol, Service};
use sockway_e2e::bed::tools::Tools;

use crate::full::Full;
use crate::hop::Hop;
use crate::mode::Mode;
use crate::progress::Progress;
use crate::tuple::Tuple;

/// fortio's TCP echo.
pub(crate) const TCP: u16 = 8078;
/// fortio's gRPC ping.
pub(crate) const GRPC: u16 = 8079;
/// fortio's HTTP echo.
pub(crate) const HTTP: u16 = 8081;
/// Our echo.
pub(crate) const ECHO: u16 = 9001;
/// Our sink.
pub(crate) const SINK: u16 = 9002;
/// KiB that fortio takes as a payload at most.
pub(crate) const FORTIO_KIB: &str = "1024";

/// The stage.
pub(crate) struct Scene {
    /// The pod that asks.
    pub(crate) client: Pod,
    server: Pod,
    /// A registered pod without a sidecar.
    pub(crate) leaver: Pod,
    /// Another node.
    pub(crate) other: Pod,
    /// Where one hop is measured.
    pub(crate) hop: Hop,
    /// fortio.
    pub(crate) fortio: PathBuf,
    objects: PathBuf,
    another: Option<PathBuf>,
    tuple: Option<Tuple>,
    /// Sockway with full maps, while that is measured.
    pub(crate) full: Option<Full>,
    /// The node. Last: pods end before it.
    pub(crate) node: Node,
}

impl Scene {
    /// Makes everything.
    pub(crate) fn new(
        progress: &Progress,
        concurrency: u32,
        another: Option<PathBuf>,
    ) -> Result<Self> {
        let tools = Tools::find()?;
        let fortio = std::env::var_os("SOCKWAY_FORTIO")
            .map(PathBuf::from)
            .context("SOCKWAY_FORTIO is not set: run it by `make bench`")?;
        let objects = objects(&tools)?;
        progress.step("a node, sockway install, pods by cnitool with sidecars and servers");
        let node = Node::new(&tools)?;
        node.install()?;
        let hop = Hop::new(&node)?;
        let pod = |name| Pod::new(&node, name);
        let (client, server) = (pod("client")?, pod("server")?);
        let (leaver, mut other) = (pod("leaver")?, pod("other")?);
        let away = node.scratch.cgroup();
        other.move_to(away.parent().context("the cgroup has no parent")?);
        let mut scene = Self {
            client,
            server,
            leaver,
            other,
            hop,
            fortio,
            objects,
            another,
            tuple: None,
            full: None,
            node,
        };
        scene.forget_other()?;
        scene.start_servers()?;
        scene.start_sidecars(concurrency)?;
        Ok(scene)
    }

    /// The other node's pods are not this node's.
    fn forget_other(&self) -> Result<()> {
        let mut registry = Registry::open(&self.node.pins())?;
        for ip in self.other.ips() {
            let ip = IpKey::from(ip);
            if let Some(row) = registry.pod(&ip)? {
                registry.unregister(&row.owner, &[ip])?;
            }
        }
        Ok(())
    }

    fn start_servers(&mut self) -> Result<()> {
        let Self {
            server,
            other,
            fortio,
            node,
            ..
        } = self;
        let [tcp, http, grpc] = [TCP, HTTP, GRPC].map(|port| port.to_string());
        let echo = server.start(node, "fortio-tcp", fortio, &["tcp-echo", "-tcp-port", &tcp])?;
        server.keep(echo, TCP)?;
        let args = [
            "server",
            "-http-port",
            &http,
            "-grpc-port",
            &grpc,
            "-maxpayloadsizekb",
            FORTIO_KIB,
            "-redirect-port",
            "disabled",
            "-tcp-port",
            "disabled",
            "-udp-port",
            "disabled",
        ];
        let web = server.start(node, "fortio-server", fortio, &args)?;
        server.keep(web, HTTP)?;
        let (echo, sink) = (format!("[::]:{ECHO}"), format!("[::]:{SINK}"));
        for pod in [server, other] {
            let args = ["endpoint", "serve", "--echo", &echo, "--sink", &sink];
            let serve = pod.spawn(node, "serve", &args)?;
            pod.keep(serve, SINK)?;
        }
        Ok(())
    }

    fn start_sidecars(&mut self, concurrency: u32) -> Result<()> {
        let backend = self.server.ips();
        let service = |(port, protocol)| Service {
            port,
            protocol,
            backend,
        };
        let services = [
            (TCP, Protocol::Tcp),
            (HTTP, Protocol::Http),
            (GRPC, Protocol::Http),
            (ECHO, Protocol::Tcp),
            (SINK, Protocol::Tcp),
        ]
        .map(service);
        for pod in [&mut self.client, &mut self.server] {
            pod.start_sidecar(&self.node, &services, &[HTTP, GRPC], concurrency)?;
        }
        Ok(())
    }

    /// The maps of what is attached now.
    pub(crate) fn pins(&self) -> Pins {
        let full = self.full.as_ref().map(|full| full.pins().clone());
        full.unwrap_or_else(|| self.node.pins())
    }

    /// From now on new connections are made so.
    pub(crate) fn switch(&mut self, mode: Mode) -> Result<()> {
        self.quiet()?;
        self.tuple = None;
        self.full = None;
        let (pins, cgroup) = (self.node.pins(), self.node.scratch.cgroup());
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
                self.full = Some(Full::attach(&self.node, &self.hop).context("full maps")?);
            }
            Mode::Auto | Mode::All | Mode::Proxy | Mode::Blind | Mode::Other => {
                self.set_scope(mode.scope())?;
                let mut options = InstallOptions::new(pins, cgroup);
                options.object = match mode {
                    Mode::Blind => Some((read(&self.objects.join("sockway-bench.o"))?, 1)),
                    Mode::Other => {
                        let object = self.another.as_deref();
                        Some((read(object.context("no --object was given")?)?, 0))
                    }
                    _ => None,
                };
                Datapath::install(&options).context("install")?;
                // As `sockway run` does on a node where nobody asks.
                Ends::open(&self.node.pins())?.release()?;
            }
        }
        Ok(())
    }

    /// Whether applications asked to be known while `work` ran. Then the hook for that is put on, as
    /// `sockway run` does, and what was measured is void; else it is taken off.
    pub(crate) fn learns(&self, work: impl FnOnce() -> Result<()>) -> Result<bool> {
        let pins = self.pins();
        let mut ends = Ends::open(&pins)?;
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
        pod::quiet(&[&self.client, &self.server])
    }

    fn set_scope(&self, scope: u32) -> Result<()> {
        let mut registry = Registry::open(&self.node.pins())?;
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

fn read(object: &Path) -> Result<Vec<u8>> {
    std::fs::read(object).with_context(|| format!("read {}", object.display()))
}

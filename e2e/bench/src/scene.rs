//! Two pods with sidecars and servers, a pod without one, another node, and a
//! namespace for what is measured on one hop.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sockway_common::addr::IpKey;
use sockway_common::pod::{OwnerKey, PodRow, SandboxRow};
use sockway_datapath::{Datapath, InstallOptions, Registry};
use sockway_e2e::bed::command::Run;
use sockway_e2e::bed::node::Node;
use sockway_e2e::bed::place::Place;
use sockway_e2e::bed::pod::{self, Pod};
use sockway_e2e::bed::process::Process;
use sockway_e2e::bed::sidecar::{INBOUND, OUTBOUND, Protocol, Service};
use sockway_e2e::bed::tools::Tools;

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
/// The two ends of one hop.
pub(crate) const HOP: [&str; 2] = ["10.99.0.1", "10.99.0.2"];
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
    hop: Place,
    /// fortio.
    pub(crate) fortio: PathBuf,
    objects: PathBuf,
    tuple: Option<Tuple>,
    /// The node. Last: pods end before it.
    pub(crate) node: Node,
}

impl Scene {
    /// Makes everything.
    pub(crate) fn new(progress: &Progress, concurrency: u32) -> Result<Self> {
        let tools = Tools::find()?;
        let fortio = std::env::var_os("SOCKWAY_FORTIO")
            .map(PathBuf::from)
            .context("SOCKWAY_FORTIO is not set: run it by `make bench`")?;
        let objects = tools.sockway.parent().and_then(Path::parent);
        let objects = objects.context("no build directory")?.join("bpf");
        progress.step("a node, sockway install, pods by cnitool with sidecars and servers");
        let node = Node::new(&tools)?;
        node.install()?;
        let hop = hop(&node)?;
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
            tuple: None,
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

    /// From now on new connections are made so.
    pub(crate) fn switch(&mut self, mode: Mode) -> Result<()> {
        pod::quiet(&[&self.client, &self.server])?;
        self.tuple = None;
        let (pins, cgroup) = (self.node.pins(), self.node.scratch.cgroup());
        match mode {
            Mode::Plain | Mode::Unix => Datapath::detach(&pins).context("detach")?,
            Mode::Tuple => {
                Datapath::detach(&pins).context("detach")?;
                let object = self.objects.join("tuple.o");
                self.tuple =
                    Some(Tuple::attach(&object, &cgroup).context("the 4-tuple yardstick")?);
            }
            Mode::Auto | Mode::All | Mode::Proxy | Mode::Blind => {
                self.set_scope(mode.scope())?;
                let mut options = InstallOptions::new(pins, cgroup);
                if mode == Mode::Blind {
                    let object = self.objects.join("sockway-bench.o");
                    let bytes = std::fs::read(&object);
                    options.blind =
                        Some(bytes.with_context(|| format!("read {}", object.display()))?);
                }
                Datapath::install(&options).context("install")?;
            }
        }
        Ok(())
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

    /// Starts this program's endpoint in the namespace of one hop.
    pub(crate) fn on_hop(&self, name: &str, args: &[&str]) -> Result<Process> {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let logs = self.node.scratch.path("logs");
        Process::start(name, &logs, &self.hop, &self.node.tools.this, &args)
    }

    /// Makes an address of the one-hop namespace a registered pod.
    pub(crate) fn add_to_hop(&self, ip: &str) -> Result<()> {
        add_address(&self.hop, ip)?;
        register(&self.node, ip)
    }
}

fn hop(node: &Node) -> Result<Place> {
    let netns = node.make_netns("hop")?;
    let place = Place {
        netns: Some(netns),
        cgroup: Some(node.scratch.cgroup()),
        user: None,
    };
    for ip in HOP {
        add_address(&place, ip)?;
        register(node, ip)?;
    }
    // Tens of thousands of connections of a second ago wait in TIME_WAIT.
    place.within(|| {
        for (name, value) in [("ip_local_port_range", "1024 65535"), ("tcp_tw_reuse", "1")] {
            let path = format!("/proc/sys/net/ipv4/{name}");
            std::fs::write(&path, value).with_context(|| format!("write {path}"))?;
        }
        Ok(())
    })?;
    Ok(place)
}

fn add_address(place: &Place, ip: &str) -> Result<()> {
    let args = ["address", "add", ip, "dev", "lo"];
    Run::new("ip").args(args).at(place)?.done()
}

/// Registers an address as a pod of its own.
pub(crate) fn register(node: &Node, ip: &str) -> Result<()> {
    let address: std::net::IpAddr = ip.parse().context("an address")?;
    let owner = OwnerKey::new(ip, "eth0");
    let row = PodRow {
        owner,
        outbound_port: OUTBOUND,
        inbound_port: INBOUND,
        scope: Mode::Auto.scope(),
    };
    let mut sandbox = SandboxRow {
        ip_count: 1,
        ..SandboxRow::default()
    };
    sandbox.ips[0] = IpKey::from(address);
    Registry::open(&node.pins())?.register(owner, &sandbox, &row)?;
    Ok(())
}

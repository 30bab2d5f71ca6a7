//! Two pods with sidecars and echo servers, registered by the plugin.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use sockway_common::addr::IpKey;
use sockway_common::scope;
use sockway_datapath::Registry;
use sockway_testkit::mesh::keeper::Keeper;
use sockway_testkit::mesh::load;
use sockway_testkit::mesh::mode;
use sockway_testkit::mesh::node::Node;
use sockway_testkit::mesh::pod::{self, Pod, at};
use sockway_testkit::mesh::sidecar::{Protocol, Service, vip};
use sockway_testkit::mesh::tools::Tools;

use super::options::Options;
use super::progress::Progress;

/// An echo that is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// For tables.
    pub(crate) name: &'static str,
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// Where it is.
    pub(crate) port: u16,
    /// Whether the Envoys speak mutual TLS with each other.
    pub(crate) secure: bool,
}

/// Every row, in the order of tables.
pub(crate) const ROWS: [Row; 4] = [
    row("tcp", Protocol::Tcp, 8080, false),
    row("http", Protocol::Http, 8081, false),
    row("tcp, mtls", Protocol::Tcp, 8443, true),
    row("http, mtls", Protocol::Http, 8444, true),
];
/// Ports of the traffic servers: without mutual TLS, with it.
pub(crate) const TRAFFIC: [(u16, bool); 2] = [(9000, false), (9443, true)];

const fn row(name: &'static str, protocol: Protocol, port: u16, secure: bool) -> Row {
    Row {
        name,
        protocol,
        port,
        secure,
    }
}

/// A service's address.
pub(crate) fn service(family: usize, port: u16) -> String {
    at(vip(family, 10), port)
}

/// The stage of the demo.
pub(crate) struct Scene {
    /// The pod that asks.
    pub(crate) client: Pod,
    /// The pod that answers.
    pub(crate) server: Pod,
    /// As in production, while new connections are accelerated.
    keeper: Option<Keeper>,
    /// The node. Last: pods end before it.
    pub(crate) node: Node,
}

impl Scene {
    /// Makes everything.
    pub(crate) fn new(tools: &Tools, progress: &Progress, options: &Options) -> Result<Self> {
        progress.step("a node of its own: network namespace, CNI directories, bpffs, cgroup");
        let node = Node::new(tools)?;
        progress.note(&format!("{}", node.scratch.path("").display()));
        progress.step("sockway install");
        progress.quote(&node.install()?);
        progress.step("two pods: cnitool add, bridge + tuning + sockway-cni");
        let mut server = Pod::new(&node, "server")?;
        let client = Pod::new(&node, "client")?;
        for pod in [&client, &server] {
            registered(&node, pod)?;
            progress.note(&format!(
                "{}: {} and {}, registered",
                pod.name,
                pod.ips()[0],
                pod.ips()[1]
            ));
        }
        progress
            .step("servers and Envoys behind Istio's REDIRECT rules, certificates for mutual TLS");
        let mut services = Vec::new();
        let backend = server.ips();
        let name = server.name.clone();
        let mut offers = |port, protocol, secure: bool| {
            services.push(Service {
                port,
                protocol,
                backend,
                pipe: None,
                secure: secure.then(|| name.clone()),
            });
        };
        for row in ROWS {
            let echo = load::serve(&node, &server, &tools.this, row.protocol, row.port)?;
            server.keep(echo, row.port)?;
            offers(row.port, row.protocol, row.secure);
        }
        for (port, secure) in TRAFFIC {
            let listen = format!("[::]:{port}");
            let args = ["-o", "json", "traffic", "server", "--listen", &listen];
            server.serve(&node, &format!("traffic-{port}"), &args)?;
            offers(port, Protocol::Tcp, secure);
        }
        let mut scene = Self {
            client,
            server,
            keeper: None,
            node,
        };
        for pod in [&mut scene.client, &mut scene.server] {
            pod.start_sidecar(&scene.node, &services, options.concurrency)?;
            progress.note(&format!(
                "{}: Envoy with {} workers, process {}",
                pod.name,
                options.concurrency,
                pod.envoy_id().unwrap_or_default()
            ));
        }
        Ok(scene)
    }

    /// From now on new connections are plain TCP.
    pub(crate) fn plain(&mut self) -> Result<()> {
        self.keeper = None;
        mode::plain(&self.node, &[&self.client, &self.server])
    }

    /// From now on new connections are accelerated.
    pub(crate) fn accelerated(&mut self) -> Result<()> {
        pod::quiet(&[&self.client, &self.server])?;
        self.keeper = None;
        self.keeper = Some(Keeper::start(&self.node, &[])?);
        Ok(())
    }

    /// DEL, uninstall, end.
    pub(crate) fn leave(self, progress: &Progress) -> Result<()> {
        let Self {
            client,
            server,
            keeper,
            node,
        } = self;
        // It would put right what is taken away now.
        drop(keeper);
        progress.step("cnitool del, sockway uninstall");
        for mut pod in [client, server] {
            pod.end_apps(Duration::from_secs(5))?;
            pod.end_sidecar();
            node.del(&pod.attachment.netns)?;
            let registry = Registry::open(&node.pins())?;
            for ip in pod.ips() {
                if registry.pod(&IpKey::from(ip))?.is_some() {
                    bail!("{ip} is still registered after DEL");
                }
            }
            node.remove_netns(&pod.name)?;
        }
        progress.quote(&node.uninstall()?);
        if node.read_conflist()? != node.conflist() {
            bail!(
                "the conflist is not what it was before install: {}",
                node.read_conflist()?
            );
        }
        if node.bpffs().exists() {
            bail!("{} is still there after uninstall", node.bpffs().display());
        }
        node.scratch.remove()
    }
}

/// The plugin has registered every address of the pod.
fn registered(node: &Node, pod: &Pod) -> Result<()> {
    let registry = Registry::open(&node.pins())?;
    for ip in pod.ips() {
        let row = registry.pod(&IpKey::from(ip))?;
        let row = row.with_context(|| format!("{ip} is not registered: was the plugin called?"))?;
        if row.scope != scope::AUTO {
            bail!("{ip} has scope {}", scope::name(row.scope));
        }
    }
    Ok(())
}

//! Two pods with sidecars and echo servers, registered by the plugin.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use sockway_common::addr::IpKey;
use sockway_common::scope;
use sockway_datapath::Registry;

use super::options::Options;
use super::progress::Progress;
use crate::bed::mode;
use crate::bed::node::Node;
use crate::bed::pod::{Pod, at};
use crate::bed::sidecar::{Protocol, Service, vip};
use crate::bed::tools::Tools;

/// Port of the TCP echo.
pub(crate) const TCP: u16 = 8080;
/// Port of the HTTP echo.
pub(crate) const HTTP: u16 = 8081;
/// Port of the traffic server.
pub(crate) const TRAFFIC: u16 = 9000;

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
        progress.step("servers and Envoys behind Istio's REDIRECT rules");
        for (name, port) in [("tcp", TCP), ("http", HTTP)] {
            let listen = format!("[::]:{port}");
            let args = ["load", "server", "--protocol", name, "--listen", &listen];
            server.serve(&node, name, &args)?;
        }
        let listen = format!("[::]:{TRAFFIC}");
        server.serve(
            &node,
            "traffic",
            &["-o", "json", "traffic", "server", "--listen", &listen],
        )?;
        let backed = |port, protocol| Service {
            port,
            protocol,
            backend: server.ips(),
        };
        let services = [
            backed(TCP, Protocol::Tcp),
            backed(HTTP, Protocol::Http),
            backed(TRAFFIC, Protocol::Tcp),
        ];
        let mut scene = Self {
            client,
            server,
            node,
        };
        for pod in [&mut scene.client, &mut scene.server] {
            pod.start_sidecar(&scene.node, &services, &[HTTP], options.concurrency)?;
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
    pub(crate) fn plain(&self) -> Result<()> {
        mode::plain(&self.node, &[&self.client, &self.server])
    }

    /// From now on new connections are accelerated.
    pub(crate) fn accelerated(&self) -> Result<()> {
        mode::accelerated(&self.node, &[&self.client, &self.server])
    }

    /// DEL, uninstall, end.
    pub(crate) fn leave(self, progress: &Progress) -> Result<()> {
        let Self {
            client,
            server,
            node,
        } = self;
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

//! Four pods on a node with Sockway, for cases and soaks.

mod ports;
mod traffic;

use anyhow::{Result, ensure};
use sockway_testkit::mesh::mode;
use sockway_testkit::mesh::node::Node;
use sockway_testkit::mesh::pod::{self, Pod, at};
use sockway_testkit::mesh::sidecar::{Protocol, Service, vip};
use sockway_testkit::mesh::tools::Tools;

use ports::Ports;
pub(crate) use ports::Range;
pub(crate) use traffic::{Outcome, Running, Traffic, WHOLE};

/// Worker threads of each Envoy.
const CONCURRENCY: u32 = 2;
/// Who calls whom, by way of how many Envoys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Plain pod to plain pod: nothing qualifies.
    Direct,
    /// Plain pod to a pod with a sidecar.
    ThroughServers,
    /// A pod with a sidecar to a plain pod.
    ThroughClients,
    /// Between two pods with sidecars, to a service address.
    ThroughBoth,
    /// Between two pods with sidecars, to the pod's own address.
    ThroughBothByPod,
    /// A pod with a sidecar to a service that it backs itself.
    ToItself,
}

/// The pods.
pub(crate) struct World {
    /// With a sidecar.
    pub(crate) client: Pod,
    /// With a sidecar.
    pub(crate) server: Pod,
    /// Without one.
    pub(crate) plain_client: Pod,
    /// Without one.
    pub(crate) plain_server: Pod,
    ports: Ports,
    /// Last: pods end before it.
    pub(crate) node: Node,
}

impl World {
    /// Makes node, pods and Envoys.
    pub(crate) fn new(tools: &Tools) -> Result<Self> {
        Self::installed_with(tools, &[])
    }

    /// The same with more arguments for `sockway install`.
    pub(crate) fn installed_with(tools: &Tools, more: &[&str]) -> Result<Self> {
        let node = Node::new(tools)?;
        node.sockway(&[&["install"], more].concat()).done()?;
        Self::on(node)
    }

    /// The same on a node without Sockway, for what is older than the install.
    pub(crate) fn without_sockway(tools: &Tools) -> Result<Self> {
        Self::on(Node::new(tools)?)
    }

    fn on(node: Node) -> Result<Self> {
        let pod = |name| Pod::new(&node, name);
        let (client, server) = (pod("client")?, pod("server")?);
        let (plain_client, plain_server) = (pod("plain-client")?, pod("plain-server")?);
        let mut world = Self {
            client,
            server,
            plain_client,
            plain_server,
            ports: Ports::default(),
            node,
        };
        let services = world.services();
        let Self {
            client,
            server,
            node,
            ..
        } = &mut world;
        for pod in [client, server] {
            pod.start_sidecar(node, &services, CONCURRENCY)?;
        }
        Ok(world)
    }

    /// Kills the serving pod's Envoy, deletes the pod, and makes another that gets its addresses.
    pub(crate) fn replace_server(&mut self) -> Result<()> {
        let services = self.services();
        let name = self.server.name.clone();
        self.server.kill_sidecar()?;
        let addresses = self.server.ips();
        self.server.delete(&self.node)?;
        self.node.reuse_addresses()?;
        self.server = Pod::new(&self.node, &name)?;
        ensure!(
            self.server.ips() == addresses,
            "the new pod got {:?}, not {addresses:?}",
            self.server.ips()
        );
        self.client.forget_neighbours()?;
        self.server
            .start_sidecar(&self.node, &services, CONCURRENCY)
    }

    /// Ends both sidecars and starts them with what they show to others now.
    pub(crate) fn start_sidecars_anew(&mut self) -> Result<()> {
        self.client.end_sidecar();
        self.server.end_sidecar();
        self.restart_sidecars()
    }

    /// Starts a sidecar again that was killed.
    pub(crate) fn restart_sidecars(&mut self) -> Result<()> {
        let services = self.services();
        let Self {
            client,
            server,
            node,
            ..
        } = self;
        for pod in [client, server] {
            if pod.envoy_id().is_none() {
                pod.start_envoy(node, &services, CONCURRENCY)?;
            }
        }
        Ok(())
    }

    /// Every pod.
    pub(crate) fn all_pods(&self) -> [&Pod; 4] {
        [
            &self.client,
            &self.server,
            &self.plain_client,
            &self.plain_server,
        ]
    }

    fn services(&self) -> Vec<Service> {
        let of = |range: Range| {
            let backend = match range {
                Range::Server | Range::Http | Range::Secure | Range::SecureHttp => &self.server,
                Range::PlainServer => &self.plain_server,
                Range::Itself | Range::SecureItself => &self.client,
            };
            range.ports().map(move |port| Service {
                port,
                protocol: range.protocol(),
                backend: backend.ips(),
                pipe: None,
                secure: range.secure().then(|| backend.name.clone()),
            })
        };
        Range::ALL.into_iter().flat_map(of).collect()
    }

    fn pods(&self, path: Path) -> (&Pod, &Pod) {
        match path {
            Path::Direct => (&self.plain_client, &self.plain_server),
            Path::ThroughServers => (&self.plain_client, &self.server),
            Path::ThroughClients => (&self.client, &self.plain_server),
            Path::ThroughBoth | Path::ThroughBothByPod => (&self.client, &self.server),
            Path::ToItself => (&self.client, &self.client),
        }
    }

    /// Addresses by which the client reaches a port of the server.
    fn addresses(&self, path: Path, family: usize, port: u16, vips: u8) -> Vec<String> {
        let by_pod = |pod: &Pod| vec![at(pod.ips()[family], port)];
        match path {
            Path::Direct | Path::ThroughServers | Path::ThroughBothByPod => {
                by_pod(self.pods(path).1)
            }
            Path::ThroughClients | Path::ThroughBoth | Path::ToItself => (0..vips)
                .map(|number| at(vip(family, 10 + number), port))
                .collect(),
        }
    }

    /// Client and server without sidecars.
    pub(crate) const fn plain_pods(&self) -> [&Pod; 2] {
        [&self.plain_client, &self.plain_server]
    }

    /// Waits until no connection is left in any pod.
    pub(crate) fn quiet(&self) -> Result<()> {
        pod::quiet(&self.all_pods())
    }

    /// From now on new connections are plain TCP.
    pub(crate) fn plain(&self) -> Result<()> {
        mode::plain(&self.node, &self.all_pods())
    }

    /// From now on new connections are accelerated.
    pub(crate) fn accelerated(&self) -> Result<()> {
        mode::accelerated(&self.node, &self.all_pods())
    }

    /// The same of the pod without a sidecar.
    pub(crate) fn plain_port(&self) -> Result<u16> {
        self.ports.next(Range::PlainServer)
    }

    /// A port of the server's that nothing has listened on so far.
    pub(crate) fn port(&self, protocol: Protocol) -> Result<u16> {
        self.ports.next(match protocol {
            Protocol::Tcp => Range::Server,
            Protocol::Http => Range::Http,
        })
    }
}

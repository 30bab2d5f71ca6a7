//! Four pods on a node with Sockway, for cases and soaks.

mod ports;
mod traffic;

use anyhow::Result;

use crate::bed::node::Node;
use crate::bed::pod::{self, Pod, at};
use crate::bed::sidecar::{Service, vip};
use crate::bed::tools::Tools;

use ports::{Ports, Range};
pub(crate) use traffic::{Outcome, Traffic};

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
    plain_client: Pod,
    plain_server: Pod,
    ports: Ports,
    /// Last: pods end before it.
    pub(crate) node: Node,
}

impl World {
    /// Makes node, pods and Envoys.
    pub(crate) fn new(tools: &Tools) -> Result<Self> {
        Self::with_scope(tools, "auto")
    }

    /// The same with pods of another scope.
    pub(crate) fn with_scope(tools: &Tools, scope: &str) -> Result<Self> {
        let node = Node::new(tools)?;
        node.sockway(&["install", "--scope", scope]).done()?;
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
        let http: Vec<u16> = Range::Http.ports().collect();
        let Self {
            client,
            server,
            node,
            ..
        } = &mut world;
        for pod in [client, server] {
            pod.start_sidecar(node, &services, &http, CONCURRENCY)?;
        }
        Ok(world)
    }

    fn services(&self) -> Vec<Service> {
        let of = |range: Range| {
            let backend = match range {
                Range::Server | Range::Http => &self.server,
                Range::PlainServer => &self.plain_server,
                Range::Itself => &self.client,
            };
            range.ports().map(move |port| Service {
                port,
                protocol: range.protocol(),
                backend: backend.ips(),
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

    /// Waits until no connection is left in any pod.
    pub(crate) fn quiet(&self) -> Result<()> {
        pod::quiet(&[
            &self.client,
            &self.server,
            &self.plain_client,
            &self.plain_server,
        ])
    }
}

//! Four pods on a node with Sockway, for cases and soaks.

mod traffic;

use std::cell::Cell;

use anyhow::{Result, ensure};

use crate::bed::node::Node;
use crate::bed::pod::{self, Pod, at};
use crate::bed::sidecar::{Protocol, Service, vip};
use crate::bed::tools::Tools;

pub(crate) use traffic::{Outcome, Traffic};

/// Worker threads of each Envoy.
const CONCURRENCY: u32 = 2;
/// Ports that cases use one after the other, so that nothing learnt of one
/// case's server is applied to the next's.
const PORTS: u16 = 48;
/// The first of the ports where HTTP is spoken.
const HTTP: u16 = 9300;

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

/// The first of the ports that a path's servers use.
const fn base(path: Path) -> u16 {
    match path {
        Path::ThroughBoth | Path::ThroughBothByPod | Path::ThroughServers => 9000,
        Path::ThroughClients | Path::Direct => 9100,
        Path::ToItself => 9200,
    }
}

/// The pods.
pub(crate) struct World {
    /// With a sidecar.
    pub(crate) client: Pod,
    /// With a sidecar.
    pub(crate) server: Pod,
    plain_client: Pod,
    plain_server: Pod,
    next: Cell<u16>,
    /// Last: pods end before it.
    pub(crate) node: Node,
}

impl World {
    /// Makes node, pods and Envoys.
    pub(crate) fn new(tools: &Tools) -> Result<Self> {
        let node = Node::new(tools)?;
        node.install()?;
        let pod = |name| Pod::new(&node, name);
        let (client, server) = (pod("client")?, pod("server")?);
        let (plain_client, plain_server) = (pod("plain-client")?, pod("plain-server")?);
        let mut world = Self {
            client,
            server,
            plain_client,
            plain_server,
            next: Cell::new(0),
            node,
        };
        let services = world.services();
        let http: Vec<u16> = services
            .iter()
            .filter(|s| s.protocol == Protocol::Http)
            .map(|s| s.port)
            .collect();
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
        let backends = [&self.server, &self.plain_server, &self.client];
        let ranges = [Path::ThroughBoth, Path::ThroughClients, Path::ToItself];
        let mut services = Vec::new();
        for (pod, path) in backends.into_iter().zip(ranges) {
            services.extend((0..PORTS).map(|index| Service {
                port: base(path) + index,
                protocol: Protocol::Tcp,
                backend: pod.ips(),
            }));
        }
        services.extend((0..PORTS).map(|index| Service {
            port: HTTP + index,
            protocol: Protocol::Http,
            backend: self.server.ips(),
        }));
        services
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

    fn next_port(&self, base: u16) -> Result<u16> {
        let index = self.next.get();
        ensure!(index < PORTS, "more cases than ports: raise PORTS");
        self.next.set(index + 1);
        Ok(base + index)
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

//! Four pods on a node with Sockway, and verified traffic between them.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::bed::node::Node;
use crate::bed::pod::{self, Pod, at};
use crate::bed::sidecar::{Protocol, Service, vip};
use crate::bed::tools::Tools;
use crate::hops::{Figures, Hops};
use crate::load::report::Report as Load;
use crate::traffic::report::Report;

/// Worker threads of each Envoy.
const CONCURRENCY: u32 = 2;
/// Ports that cases use one after the other, so that nothing learnt of one
/// case's server is applied to the next's.
const PORTS: u16 = 48;
/// The first of the ports where HTTP is spoken.
const HTTP: u16 = 9300;
/// How long one case's traffic may take.
const LIMIT: Duration = Duration::from_secs(120);

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

/// What both ends and the datapath say about a case's traffic.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The connecting end.
    pub(crate) client: Report,
    /// What the datapath counted meanwhile.
    pub(crate) hops: Hops,
}

/// Traffic of a case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic<'a> {
    /// Who calls whom.
    pub(crate) path: Path,
    /// IPv4 (0) or IPv6 (1).
    pub(crate) family: usize,
    /// The server's listening address and its manner, without the port: `[::]` or `0.0.0.0`, `,greet`, `,defer`.
    pub(crate) listen: (&'a str, &'a str),
    /// More arguments for the server.
    pub(crate) server: &'a [&'a str],
    /// More arguments for the client.
    pub(crate) client: &'a [&'a str],
    /// Service addresses that the client uses in turn.
    pub(crate) vips: u8,
    /// Connections.
    pub(crate) connections: u32,
    /// How long they may take.
    pub(crate) limit: Duration,
}

impl Traffic<'_> {
    /// Plain non-blocking traffic.
    pub(crate) const fn new(path: Path, family: usize) -> Self {
        Self {
            path,
            family,
            listen: ("[::]", ""),
            server: &[],
            client: &[],
            vips: 1,
            connections: 1000,
            limit: LIMIT,
        }
    }
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

    /// Runs a server and a client; an error where a byte was wrong at either end.
    ///
    /// Before the traffic a few connections one after the other, from which
    /// the datapath learns how the applications read.
    pub(crate) fn traffic(&self, traffic: &Traffic<'_>) -> Result<Outcome> {
        let Traffic {
            path,
            family,
            listen,
            server,
            client,
            vips,
            connections,
            limit,
        } = *traffic;
        let (asking, answering) = self.pods(path);
        let port = self.next_port(base(path))?;
        let listen = format!("{}:{port}{}", listen.0, listen.1);
        let args = [
            &["-o", "json", "traffic", "server", "--listen", &listen],
            server,
        ]
        .concat();
        let mut process = answering.spawn(&self.node, &format!("traffic-{port}"), &args)?;
        process.wait_ready()?;

        let to = self.addresses(path, family, port, vips);
        let to: Vec<&str> = to.iter().flat_map(|to| ["--to", to]).collect();
        let ask = |name: &str, more: &[&str]| -> Result<Report> {
            let args = [
                &["-o", "json", "traffic", "client"],
                to.as_slice(),
                client,
                more,
            ]
            .concat();
            let process = asking.spawn(&self.node, &format!("{name}-{port}"), &args)?;
            let text = process.finish(limit)?;
            serde_json::from_str(text.trim()).with_context(|| format!("parse {text:?}"))
        };
        let warm = (u32::from(vips) * 6).to_string();
        let warm_up = [
            "--connections",
            &warm,
            "--concurrency",
            "1",
            "--kinds",
            "rounds",
            "--seed",
            "7",
        ];
        let first = ask("warm-up", &warm_up).context("warm-up")?;
        let pins = self.node.pins();
        let before = Figures::read(&pins)?;
        let count = connections.to_string();
        let second = ask("client", &["--connections", &count])?;
        let text = process.end(LIMIT)?;
        let hops = Figures::read(&pins)?.since(&before);
        let line = text.lines().find(|line| line.starts_with('{'));
        let served: Report = serde_json::from_str(line.context("the server gave no report")?)?;
        ensure!(served.good(), "the server saw faults: {served}");
        let made = first.connections + second.connections;
        ensure!(
            served.connections == made,
            "{made} connections made, {} accepted",
            served.connections
        );
        ensure!(
            second.connections == u64::from(connections),
            "the client stopped early: {second}"
        );
        Ok(Outcome {
            client: second,
            hops,
        })
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

    /// Closed-loop echo load through both Envoys; an error where an answer was wrong.
    pub(crate) fn load(
        &self,
        protocol: Protocol,
        family: usize,
        client: &[&str],
    ) -> Result<(Load, Hops)> {
        let (name, port) = match protocol {
            Protocol::Tcp => ("tcp", self.next_port(base(Path::ThroughBoth))?),
            Protocol::Http => ("http", self.next_port(HTTP)?),
        };
        let listen = format!("[::]:{port}");
        let args = ["load", "server", "--protocol", name, "--listen", &listen];
        let mut server = self
            .server
            .spawn(&self.node, &format!("load-{port}"), &args)?;
        server.wait_ready()?;
        let to = at(vip(family, 10), port);
        let args = [
            &[
                "-o",
                "json",
                "load",
                "client",
                "--protocol",
                name,
                "--to",
                &to,
                "--warm-up",
                "4",
            ],
            client,
        ]
        .concat();
        let pins = self.node.pins();
        let before = Figures::read(&pins)?;
        let process = self
            .client
            .spawn(&self.node, &format!("load-client-{port}"), &args)?;
        let text = process.finish(LIMIT)?;
        let hops = Figures::read(&pins)?.since(&before);
        let load: Load =
            serde_json::from_str(text.trim()).with_context(|| format!("parse {text:?}"))?;
        Ok((load, hops))
    }
}

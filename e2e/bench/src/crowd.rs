//! What else is on the node: idle connections and registered pods.

use anyhow::{Context, Result};
use sockway_common::addr::IpKey;
use sockway_common::pod::OwnerKey;
use sockway_datapath::Registry;
use sockway_testkit::mesh::node::Node;
use sockway_testkit::mesh::sidecar::INBOUND;
use sockway_testkit::process::Process;

use crate::case::Case;
use crate::hop::{Hop, register};

/// Connections that one process holds: both ends, under the usual limit of open files.
const EACH: u32 = 7_500;

/// Idle connections, made as connections are made now, and pods; gone on drop.
pub(crate) struct Crowd<'a> {
    node: &'a Node,
    idle: u32,
    connections: Vec<Process>,
    pods: Vec<OwnerKey>,
}

impl<'a> Crowd<'a> {
    /// As a case asks for.
    pub(crate) fn new(node: &'a Node, hop: &Hop, case: &Case) -> Result<Self> {
        let mut crowd = Self {
            node,
            idle: case.idle,
            connections: Vec::new(),
            pods: Vec::new(),
        };
        for n in 0..case.pods {
            let ip = format!("10.100.{}.{}", n / 250, n % 250 + 1);
            crowd.pods.push(OwnerKey::new(&ip, "eth0"));
            register(node, &ip)?;
        }
        let mut left = case.idle;
        while left > 0 {
            let some = left.min(EACH);
            left -= some;
            let n = crowd.connections.len() + 1;
            // From addresses of their own: the ports of one would not do for all.
            let ends = [format!("10.99.3.{n}"), format!("10.99.1.{n}")];
            crowd
                .connections
                .push(idle(node, hop, ends.each_ref().map(String::as_str), some)?);
        }
        Ok(crowd)
    }

    /// True where this is what the case asks for.
    pub(crate) fn suits(&self, case: &Case) -> bool {
        self.idle == case.idle && self.pods.len() == case.pods as usize
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        self.connections.clear();
        let Ok(mut registry) = Registry::open(&self.node.pins()) else {
            return;
        };
        for owner in &self.pods {
            // The node goes with the run.
            drop(registry.unregister(owner, &[]));
        }
    }
}

/// Opens idle connections between two addresses of the hop's namespace.
pub(crate) fn idle(node: &Node, hop: &Hop, ends: [&str; 2], connections: u32) -> Result<Process> {
    for ip in ends {
        know(node, hop, ip)?;
    }
    let [from, to] = ends;
    let name = format!("idle-{to}");
    let (to, count) = (format!("{to}:{INBOUND}"), connections.to_string());
    let from = format!("{from}:0");
    let args = [
        "endpoint",
        "idle",
        "--from",
        &from,
        "--to",
        &to,
        "--connections",
        &count,
    ];
    let mut process = hop.start(node, &name, &args)?;
    process.wait_ready()?;
    Ok(process)
}

/// Adds an address to the hop's namespace as a registered pod's, unless it is one.
pub(crate) fn know(node: &Node, hop: &Hop, ip: &str) -> Result<()> {
    let address: std::net::IpAddr = ip.parse().context("an address")?;
    if Registry::open(&node.pins())?
        .pod(&IpKey::from(address))?
        .is_none()
    {
        hop.add(node, ip)?;
    }
    Ok(())
}

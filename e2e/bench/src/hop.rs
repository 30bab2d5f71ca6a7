//! A network namespace in which both ends of one hop are, without any Envoy.

use anyhow::{Context, Result};
use sockway_datapath::Registry;
use sockway_testkit::command::Run;
use sockway_testkit::mesh::node::Node;
use sockway_testkit::place::Place;
use sockway_testkit::process::Process;
use sockway_testkit::rows;

use crate::mode::Mode;

/// The address that connects and the one that listens.
pub(crate) const ENDS: [&str; 2] = ["10.99.0.1", "10.99.0.2"];

/// The namespace; it goes with the node.
pub(crate) struct Hop {
    place: Place,
}

impl Hop {
    /// Makes it, with both ends registered.
    pub(crate) fn new(node: &Node) -> Result<Self> {
        let hop = Self {
            place: Place {
                netns: Some(node.make_netns("hop")?),
                cgroup: Some(node.scratch.cgroup()),
                user: None,
            },
        };
        for ip in ENDS {
            hop.add(node, ip)?;
        }
        // Tens of thousands of connections of a second ago wait in TIME_WAIT.
        hop.place.within(|| {
            for (name, value) in [("ip_local_port_range", "1024 65535"), ("tcp_tw_reuse", "1")] {
                let path = format!("/proc/sys/net/ipv4/{name}");
                std::fs::write(&path, value).with_context(|| format!("write {path}"))?;
            }
            Ok(())
        })?;
        Ok(hop)
    }

    /// Adds an address that is a registered pod's.
    pub(crate) fn add(&self, node: &Node, ip: &str) -> Result<()> {
        let args = ["address", "add", ip, "dev", "lo"];
        Run::new("ip").args(args).at(&self.place)?.done()?;
        register(node, ip)
    }

    /// Starts this program in it.
    pub(crate) fn start(&self, node: &Node, name: &str, args: &[&str]) -> Result<Process> {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let logs = node.scratch.path("logs");
        Process::start(name, &logs, &self.place, &node.tools.this, &args)
    }
}

/// Registers an address as a pod of its own.
pub(crate) fn register(node: &Node, ip: &str) -> Result<()> {
    let address = ip.parse().context("an address")?;
    let mut registry = Registry::open(&node.pins())?;
    rows::register(&mut registry, ip, &[address], Mode::Auto.scope())
}

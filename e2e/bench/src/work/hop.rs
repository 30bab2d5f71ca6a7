//! One hop in a namespace of its own, beside idle connections and other pods.

use anyhow::{Context, Result};
use sockway_common::addr::IpKey;
use sockway_common::pod::OwnerKey;
use sockway_datapath::Registry;
use sockway_e2e::bed::node::Node;
use sockway_e2e::bed::pod::at;
use sockway_e2e::bed::process::Process;
use sockway_e2e::bed::sidecar::INBOUND;

use super::read;
use crate::hop::{ENDS, Hop, register};
use crate::jobs::{Case, Tool};
use crate::results::Measured;
use crate::scene::Scene;

/// Connections that one process holds: both ends, under the usual limit of open files.
const EACH: u32 = 7_500;

/// Runs it once.
pub(super) fn run(scene: &Scene, case: &Case, millis: u64) -> Result<Measured> {
    let _pods = Pods::add(scene, case.pods)?;
    let _idle = idle(scene, case.idle)?;
    let verb = if case.tool == Tool::Pair {
        "pair"
    } else {
        "knock"
    };
    pair((&scene.node, &scene.hop), verb, "tcp", case, millis)
}

/// The pair itself.
pub(crate) fn pair(
    (node, hop): (&Node, &Hop),
    verb: &str,
    kind: &str,
    case: &Case,
    millis: u64,
) -> Result<Measured> {
    let [from, to] = ENDS.map(str::parse::<std::net::IpAddr>);
    let (from, to) = (at(from?, 0), at(to?, INBOUND));
    let (size, millis_text) = (case.payload.to_string(), millis.to_string());
    let args = [
        "endpoint",
        verb,
        "--kind",
        kind,
        "--from",
        &from,
        "--to",
        &to,
        "--size",
        &size,
        "--millis",
        &millis_text,
    ];
    read(hop.start(node, verb, &args)?, millis)
}

/// Opens idle connections between addresses of their own.
fn idle(scene: &Scene, connections: u32) -> Result<Vec<Process>> {
    let mut left = connections;
    let mut processes = Vec::new();
    while left > 0 {
        let some = left.min(EACH);
        left -= some;
        let to = format!("10.99.1.{}", processes.len() + 1);
        // Known from an earlier run of this.
        if registered(scene, &to)?.is_none() {
            scene.hop.add(&scene.node, &to)?;
        }
        let (to, count) = (format!("{to}:{INBOUND}"), some.to_string());
        let from = format!("{}:0", ENDS[0]);
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
        let mut process =
            scene
                .hop
                .start(&scene.node, &format!("idle-{}", processes.len()), &args)?;
        process.wait_ready()?;
        processes.push(process);
    }
    Ok(processes)
}

fn registered(scene: &Scene, ip: &str) -> Result<Option<OwnerKey>> {
    let ip: std::net::IpAddr = ip.parse().context("an address")?;
    let registry = Registry::open(&scene.node.pins())?;
    Ok(registry.pod(&IpKey::from(ip))?.map(|row| row.owner))
}

/// Pods that are registered and nothing else; taken out on drop.
struct Pods<'a> {
    scene: &'a Scene,
    ips: Vec<String>,
}

impl<'a> Pods<'a> {
    fn add(scene: &'a Scene, count: u32) -> Result<Self> {
        let ips = (0..count).map(|n| format!("10.100.{}.{}", n / 250, n % 250 + 1));
        let pods = Self {
            scene,
            ips: ips.collect(),
        };
        pods.ips
            .iter()
            .try_for_each(|ip| register(&scene.node, ip))?;
        Ok(pods)
    }
}

impl Drop for Pods<'_> {
    fn drop(&mut self) {
        let Ok(mut registry) = Registry::open(&self.scene.node.pins()) else {
            return;
        };
        for ip in &self.ips {
            // The node goes with the run.
            drop(registry.unregister(&OwnerKey::new(ip, "eth0"), &[]));
        }
    }
}

//! What is measured: our plugin on nodes of several sizes, and three reference
//! plugins that stand behind the one that makes the interface, as ours does.

use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sockway_common::scope;
use sockway_datapath::{Pins, Registry};
use sockway_testkit::rows;

use crate::invoke::{Invocation, result};
use crate::node::Node;
use crate::pod::Pod;

/// Pods that are registered already.
const SIZES: [u32; 3] = [1, 250, 10_000];
const ADDRESSES: [&str; 2] = ["10.0.0.7", "fd00::7"];

/// A plugin and how it is called.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) ours: bool,
    pub(super) invocation: Invocation,
    /// Keeps the namespace.
    _pod: Pod,
}

/// Every subject; ours first, by size.
pub(super) fn all(node: &Node) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for size in SIZES {
        let pins = pins(node, size)?;
        let conf = json!({
            "type": "sockway-cni",
            "capabilities": { "io.kubernetes.cri.pod-annotations": true },
            "runtimeConfig": { "io.kubernetes.cri.pod-annotations": { "sockway.io/scope": "auto" } },
            "bpffs": pins.root(),
            "logFile": node.path("bench.log"),
            "strict": true,
        });
        let pods = if size == 1 { "pod" } else { "pods" };
        let name = format!("sockway-cni, {size} {pods}");
        subjects.push(subject(&node.tools.plugin, &name, true, conf)?);
    }
    // One sysctl; no port mapped and no limit set, which is the least they do.
    let references = [
        (
            "tuning",
            json!({ "sysctl": { "net.ipv4.tcp_fin_timeout": "60" } }),
        ),
        (
            "portmap",
            json!({ "capabilities": { "portMappings": true } }),
        ),
        (
            "bandwidth",
            json!({ "capabilities": { "bandwidth": true } }),
        ),
    ];
    for (name, mut conf) in references {
        conf["type"] = json!(name);
        subjects.push(subject(
            &node.tools.reference.join(name),
            name,
            false,
            conf,
        )?);
    }
    Ok(subjects)
}

fn subject(program: &std::path::Path, name: &str, ours: bool, mut conf: Value) -> Result<Subject> {
    let pod = Pod::new()?;
    let ips = ADDRESSES.map(str::parse::<IpAddr>);
    let ips: Vec<_> = ips
        .into_iter()
        .collect::<Result<_, _>>()
        .context("an address")?;
    pod.wire(&ips)?;
    conf["name"] = json!("terway-chainer");
    conf["cniVersion"] = json!("1.0.0");
    conf["prevResult"] = result(&pod.netns, &ips);
    let invocation = Invocation::new(program, "benched", &pod.netns, &conf)?;
    Ok(Subject {
        name: name.to_owned(),
        ours,
        invocation,
        _pod: pod,
    })
}

/// Maps with so many pods in them.
fn pins(node: &Node, size: u32) -> Result<Pins> {
    let directory = node.path("bpf").join(format!("of-{size}"));
    let pins = rows::pin_maps(&directory)?;
    let mut registry = Registry::open(&pins)?;
    for number in 0..size {
        let ip = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
        let name = format!("filler-{number}");
        rows::register(&mut registry, &name, &[ip], scope::AUTO)?;
    }
    Ok(pins)
}

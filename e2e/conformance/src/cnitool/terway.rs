//! The chain that terway's daemon writes, with the installer's entry in it, and
//! what terway answers in its modes.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Cases, expect_ips};
use crate::chains::{self, Chain, Families};
use crate::drivers::{Answer, Call, Driver, Verb};
use crate::node::Node;
use crate::pod::Pod;

/// The file that terway's daemon writes.
const FILE: &str = "10-terway.conflist";

/// Makes the node one of terway's, with Sockway installed.
pub(super) fn install(node: &Node) -> Result<()> {
    let list = json!({
        "cniVersion": "0.4.0",
        "name": "terway-chainer",
        "plugins": [
            chains::terway(node, 0, Families::Dual, "full"),
            { "type": "cilium-cni", "enable-debug": false, "log-file": "/var/run/cilium/cilium-cni.log" },
        ],
    });
    node.install(FILE, &list)
}

/// How terway answers, and how many addresses a dual-stack pod has by it.
struct Mode {
    name: &'static str,
    answers: &'static str,
    version: &'static str,
    families: Families,
    cilium: bool,
}

const fn mode(name: &'static str, answers: &'static str, families: Families, cilium: bool) -> Mode {
    Mode {
        name,
        answers,
        version: "0.4.0",
        families,
        cilium,
    }
}

const MODES: [Mode; 8] = [
    mode("veth", "full", Families::Dual, false),
    mode("veth-v4", "full", Families::V4, false),
    mode("veth-v6", "full", Families::V6, false),
    mode("datapathv2", "full", Families::Dual, true),
    mode("datapathv2-v6", "full", Families::V6, true),
    // The rest is in the namespace only.
    mode("no-v6-gateway", "no-v6-gateway", Families::Dual, true),
    mode(
        "only-v6-without-gateway",
        "no-v6-gateway",
        Families::V6,
        false,
    ),
    Mode {
        name: "v1.0",
        answers: "v1.0",
        version: "0.3.1",
        families: Families::Dual,
        cilium: false,
    },
];

pub(super) fn cases(cases: &mut Cases<'_>) {
    cases.case("terway/10-terway.conflist", as_installed);
    for mode in MODES {
        for driver in [Driver::Cnitool, Driver::Libcni] {
            let name = format!("terway/{}/{}", mode.name, driver.name());
            cases.case(&name, |node| answers(node, &mode, driver));
        }
    }
    cases.case("terway/retries-a-vanished-netns", vanished);
}

fn as_installed(node: &Node) -> Result<()> {
    let list = node.conflist(FILE)?;
    let types: Vec<_> = list["plugins"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| &p["type"])
        .collect();
    if types != ["terway", "cilium-cni", "sockway-cni"] {
        bail!("the installer made the chain {types:?}");
    }
    if list["cniVersion"] != "0.4.0" || list["name"] != "terway-chainer" {
        bail!("the installer changed the list: {list}");
    }
    let log = node.path("sockway-cni.log");
    let chain = Chain::of_file(&node.path("net.d").join(FILE), &log, &list)?;
    let pod = Pod::new()?;
    let call = |verb| {
        Driver::Cnitool
            .call(node, &chain, &Call::new(verb, &pod))
            .and_then(Answer::ok)
    };
    for _ in 0..2 {
        let added = call(Verb::Add)?;
        super::registered(node, &added, 2)?;
        let result = added.result.context("a result")?;
        if !result["interfaces"][0]["sandbox"]
            .as_str()
            .is_some_and(|id| id.starts_with("cnitool-"))
        {
            bail!("terway's sandbox did not get through: {result}");
        }
        call(Verb::Check)?;
    }
    call(Verb::Del)?;
    call(Verb::Del)?;
    Ok(())
}

fn answers(node: &Node, mode: &Mode, driver: Driver) -> Result<()> {
    let Mode {
        name: _,
        answers,
        version,
        families,
        cilium,
    } = mode;
    let chain = Chain::terway(node, *families, version, answers, *cilium)?;
    let pod = Pod::new()?;
    let call = |verb| {
        driver
            .call(node, &chain, &Call::new(verb, &pod))
            .and_then(Answer::ok)
    };
    let added = call(Verb::Add)?;
    let ips = in_netns(&pod)?;
    if ips.len() != families.count() {
        bail!("the interface has {ips:?}");
    }
    expect_ips(node, &ips).with_context(|| format!("with the result {:?}", added.result))?;
    if *version != "0.3.1" {
        call(Verb::Check)?;
        call(Verb::Check)?;
    }
    call(Verb::Del)?;
    node.expect_nothing()?;
    call(Verb::Del)?;
    Ok(())
}

/// terway fails the DEL of a namespace that is gone; ours has come before it
/// and comes again with the runtime's next try.
fn vanished(node: &Node) -> Result<()> {
    let chain = Chain::terway(node, Families::Dual, "0.4.0", "full", true)?;
    let mut pod = Pod::new()?;
    Driver::Libcni
        .call(node, &chain, &Call::new(Verb::Add, &pod))?
        .ok()?;
    pod.vanish()?;
    for _ in 0..3 {
        let answer = Driver::Libcni.call(node, &chain, &Call::new(Verb::Del, &pod))?;
        answer.fails(999, "cannot open network namespace")?;
        node.expect_nothing()?;
    }
    let last = pod.without_netns();
    Driver::Libcni
        .call(node, &chain, &Call::new(Verb::Del, &last))?
        .ok()?;
    Ok(())
}

/// The addresses of `eth0`, in ascending order.
fn in_netns(pod: &Pod) -> Result<Vec<IpAddr>> {
    let text = pod.ip_output("-json address show dev eth0 scope global")?;
    let links: Value = serde_json::from_str(&text).context("parse the addresses")?;
    let infos = links[0]["addr_info"].as_array().into_iter().flatten();
    let mut ips: Vec<IpAddr> = infos
        .filter_map(|info| info["local"].as_str()?.parse().ok())
        .collect();
    ips.sort_unstable();
    Ok(ips)
}

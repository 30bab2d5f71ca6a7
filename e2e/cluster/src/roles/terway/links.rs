//! Links, routes and rules of terway's two modes, as the real plugin makes them.
//!
//! Policy route (`TypeENIMultiIP`): a veth pair whose end in the pod has a /32 and its
//! default route by 169.254.1.1; on the node a route to the pod, a rule 512 towards it
//! and a rule 2048 from it into a table of its own.
//!
//! Exclusive (`TypeVPCENI`): a network interface of the node's moves into the pod; a veth
//! pair beside it is the way to the node and to Services. What one pod sends to another
//! leaves the node's own network, and comes back by the VPC's router.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail};

use super::GATEWAY;
use crate::place::{NODE_IP, SERVICE_CIDR};
use crate::run::Run;

/// How pods come to their interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Many pods behind one interface of the node.
    Policy,
    /// An interface for each pod.
    Exclusive,
}

impl Mode {
    pub(crate) fn parse(word: &str) -> Result<Self> {
        match word {
            "policy" => Ok(Self::Policy),
            "exclusive" => Ok(Self::Exclusive),
            _ => bail!("{word:?} is no mode"),
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Exclusive => "exclusive",
        }
    }
}

/// The network namespace of the VPC, by name; a bridge in it has the router's address.
pub(crate) const VPC: &str = "vpc";
pub(crate) const BRIDGE: &str = "vpc0";
/// The pod's next hop, which only the neighbour table knows.
const HOP: &str = "169.254.1.1";
/// The pod's end of the way to the node, in exclusive mode.
const INNER: &str = "veth1";
/// The routing table of the network interface that pods' packets leave by.
const TABLE: u32 = 1003;

fn host_link(address: Ipv4Addr) -> String {
    let [.., high, low] = address.octets();
    format!("cali{high}x{low}")
}

fn mac(link: &str) -> Result<String> {
    let text = fs::read_to_string(format!("/sys/class/net/{link}/address"));
    Ok(text
        .with_context(|| format!("{link} is not there"))?
        .trim()
        .to_owned())
}

/// Policy route mode.
pub(super) fn wire(netns: &str, ifname: &str, address: Ipv4Addr) -> Result<()> {
    let host = host_link(address);
    ip(&format!(
        "link add {host} type veth peer name {ifname} netns {netns}"
    ))?;
    ip(&format!("link set {host} up"))?;
    for line in [
        format!("address add {address}/32 dev {ifname}"),
        format!("link set {ifname} up"),
        format!("route add {HOP} dev {ifname} scope link"),
        format!("route add default via {HOP} dev {ifname}"),
        format!(
            "neigh replace {HOP} lladdr {} dev {ifname} nud permanent",
            mac(&host)?
        ),
    ] {
        inside(netns, &line)?;
    }
    ip(&format!("route replace {address}/32 dev {host}"))?;
    ip(&format!("rule add pref 512 to {address} lookup main"))?;
    ip(&format!("rule add pref 2048 from {address} lookup {TABLE}"))?;
    // The way out of the node; the packets between its pods find the first rule.
    let default = Run::new("ip").args(["route", "show", "default"]).output()?;
    let words = default.lines().next().unwrap_or_default().trim();
    ip(&format!("route replace table {TABLE} {words}"))
}

/// Exclusive mode.
pub(super) fn cross(netns: &str, ifname: &str, address: Ipv4Addr) -> Result<()> {
    let (host, eni) = (host_link(address), attach(address)?);
    ip(&format!("link set {eni} netns {netns} name {ifname}"))?;
    ip(&format!(
        "link add {host} type veth peer name {INNER} netns {netns}"
    ))?;
    ip(&format!("link set {host} up"))?;
    for line in [
        format!("address add {address}/32 dev {ifname}"),
        format!("link set {ifname} up"),
        format!("route add default via {GATEWAY} dev {ifname} onlink"),
        format!("address add {address}/32 dev {INNER}"),
        format!("link set {INNER} up"),
        format!("route add {HOP} dev {INNER} scope link"),
        format!("route add {SERVICE_CIDR} via {HOP} dev {INNER} onlink"),
        format!("route add {NODE_IP} via {HOP} dev {INNER}"),
        format!(
            "neigh replace {HOP} lladdr {} dev {INNER} nud permanent",
            mac(&host)?
        ),
    ] {
        inside(netns, &line)?;
    }
    ip(&format!("route replace {address}/32 dev {host} scope link"))
}

/// Gives the node a network interface of the VPC; its name.
fn attach(address: Ipv4Addr) -> Result<String> {
    let [.., high, low] = address.octets();
    let (eni, port) = (format!("eni{high}x{low}"), format!("port{high}x{low}"));
    ip(&format!(
        "link add {eni} type veth peer name {port} netns {VPC}"
    ))?;
    ip(&format!("-n {VPC} link set {port} master {BRIDGE} up"))?;
    Ok(eni)
}

/// Rules do not go with the interface.
pub(super) fn forget(address: Ipv4Addr) {
    for line in [
        format!("rule delete pref 512 to {address}"),
        format!("rule delete pref 2048 from {address}"),
    ] {
        let _ = ip(&line);
    }
}

fn ip(line: &str) -> Result<()> {
    Run::new("ip").args(line.split_whitespace()).done()
}

pub(super) fn inside(netns: &str, line: &str) -> Result<()> {
    Run::new("nsenter")
        .arg(format!("--net={netns}"))
        .arg("ip")
        .args(line.split_whitespace())
        .done()
}

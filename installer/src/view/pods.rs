//! The registered pods with their sums.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::Serialize;
use sockway_common::addr::IpKey;
use sockway_common::part::{Part, Switched};
use sockway_common::pod::{OwnerKey, PodStats, SandboxRow, field_text};
use sockway_common::scope;
use sockway_datapath::{Pins, Registry, stats};

/// One attachment: a pod's interface.
#[derive(Clone, Debug, Serialize)]
pub struct PodState {
    /// Kubernetes namespace, empty where the runtime did not say.
    pub namespace: String,
    /// Pod name, empty where the runtime did not say.
    pub name: String,
    /// Registered addresses.
    pub ips: Vec<IpAddr>,
    /// How far it takes part now.
    pub scope: &'static str,
    /// Why it takes no part, where that is the settings' doing or it was switched off; else empty.
    pub why: String,
    /// What was decided about it.
    #[serde(skip)]
    pub part: Part,
    /// Whether the tripwire switched it off.
    pub tripped: bool,
    /// Envoy's outbound port, 0 where no address is registered.
    pub outbound_port: u16,
    /// Envoy's inbound port, 0 where no address is registered.
    pub inbound_port: u16,
    /// When it was registered, seconds since the Unix epoch.
    pub since_unix_s: u64,
    /// CNI container id.
    pub container_id: String,
    /// CNI interface name.
    pub ifname: String,
    /// Inode of its network namespace, 0 where it is not known.
    pub netns_inode: u64,
    /// Connections of which both ends were joined.
    pub connections: u64,
    /// Redirected messages.
    pub redirected_messages: u64,
    /// Redirected bytes.
    pub redirected_bytes: u64,
    /// Messages of joined connections that went by TCP.
    pub tcp_messages: u64,
    /// Bytes of joined connections that went by TCP.
    pub tcp_bytes: u64,
}

impl PodState {
    /// `namespace/name`, or the container id where the runtime did not name the pod.
    pub fn title(&self) -> String {
        if self.name.is_empty() {
            return format!("({})", self.short_id());
        }
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether `word` is one of its addresses, its `namespace/name`, or its container id.
    pub fn is_called(&self, word: &str) -> bool {
        word.parse().is_ok_and(|ip: IpAddr| self.ips.contains(&ip))
            || word == self.title()
            || word == self.container_id
    }

    /// The first twelve characters of the container id.
    pub fn short_id(&self) -> &str {
        self.container_id.get(..12).unwrap_or(&self.container_id)
    }

    /// One with an address and without a connection, for tests.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            namespace: "shop".to_owned(),
            name: "cart-0".to_owned(),
            ips: vec![IpAddr::from([10, 0, 0, 1])],
            scope: "auto",
            why: String::new(),
            part: Part::default(),
            tripped: false,
            outbound_port: 15001,
            inbound_port: 15006,
            since_unix_s: 0,
            container_id: "0123456789abcdef".to_owned(),
            ifname: "eth0".to_owned(),
            netns_inode: 1,
            connections: 0,
            redirected_messages: 0,
            redirected_bytes: 0,
            tcp_messages: 0,
            tcp_bytes: 0,
        }
    }

    /// When it was registered.
    pub fn since(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.since_unix_s)
    }
}

/// Every registered pod, by name.
///
/// # Errors
///
/// Where the maps are not there or cannot be read.
pub fn gather(pins: &Pins) -> Result<Vec<PodState>> {
    let registry = Registry::open(pins)?;
    let sums: HashMap<IpKey, PodStats> = stats::pods(pins)?.into_iter().collect();
    let mut pods = Vec::new();
    for (owner, sandbox) in registry.sandboxes()? {
        pods.push(pod(&registry, owner, &sandbox, &sums)?);
    }
    pods.sort_by_key(PodState::title);
    Ok(pods)
}

/// Why a pod takes no part, in words.
fn why(part: Part) -> String {
    match (part.switched, part.left_out) {
        (Some(switched), _) => switched.to_string(),
        (None, Some(left_out)) => left_out.to_string(),
        (None, None) => String::new(),
    }
}

fn pod(
    registry: &Registry,
    owner: OwnerKey,
    sandbox: &SandboxRow,
    sums: &HashMap<IpKey, PodStats>,
) -> Result<PodState> {
    let mut sum = PodStats::default();
    let mut ports = (0, 0);
    let mut ips = Vec::new();
    let mut part = sandbox.part();
    for ip in sandbox.ips() {
        // An address may have changed hands since.
        let Some(row) = registry.pod(ip)?.filter(|row| row.owner == owner) else {
            continue;
        };
        ports = (row.outbound_port, row.inbound_port);
        if row.scope == scope::OFF && part.in_effect() != scope::OFF {
            // By an older version, which noted it there only.
            part.switched = Some(Switched::ByHand);
        }
        ips.push(IpAddr::from(*ip));
        if let Some(of_ip) = sums.get(ip) {
            sum.add(of_ip);
        }
    }
    Ok(PodState {
        namespace: field_text(&sandbox.pod_namespace).to_owned(),
        name: field_text(&sandbox.pod_name).to_owned(),
        ips,
        scope: scope::name(part.in_effect()),
        why: why(part),
        part,
        tripped: part.switched == Some(Switched::Tripped),
        outbound_port: ports.0,
        inbound_port: ports.1,
        since_unix_s: sandbox.since_unix_ns / 1_000_000_000,
        container_id: field_text(&sandbox.container_id).to_owned(),
        ifname: field_text(&sandbox.ifname).to_owned(),
        netns_inode: sandbox.netns_inode,
        connections: sum.paired,
        redirected_messages: sum.redirected_messages,
        redirected_bytes: sum.redirected_bytes,
        tcp_messages: sum.tcp_messages,
        tcp_bytes: sum.tcp_bytes,
    })
}

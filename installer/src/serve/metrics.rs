//! Figures in Prometheus' text format.

use sockway_common::layout;
use sockway_datapath::{Error, Pins, stats};

use crate::build::{COMMIT, VERSION};
use crate::figures::Figures;
use crate::keep::shared::Known;
use crate::pods::{self, PodState};
use crate::serve::exposition::Page;

/// Maps whose fill is shown.
const MAPS: [&str; 5] = [
    layout::SOCKETS,
    layout::PEERS,
    layout::PENDING,
    layout::WATCHED,
    layout::READERS,
];

/// The whole page. `per_pod`: at most so many pods, those with the most bytes.
pub fn page(pins: &Pins, known: &Known, per_pod: usize) -> String {
    let mut page = Page::default();
    keeper(&mut page, known);
    if let Err(e) = datapath(&mut page, pins, per_pod) {
        log::debug!("metrics: {e:#}");
        page.one("sockway_datapath_readable", "gauge", READABLE, 0);
    } else {
        page.one("sockway_datapath_readable", "gauge", READABLE, 1);
    }
    page.into_text()
}

const READABLE: &str = "Whether the programs' maps could be read (1) or not (0).";

fn keeper(page: &mut Page, known: &Known) {
    page.family(
        "sockway_build_info",
        "gauge",
        "The build that keeps this node; always 1.",
    );
    page.sample(
        "sockway_build_info",
        &[("version", VERSION), ("commit", COMMIT)],
        1,
    );
    let ready = u64::from(known.not_ready.is_empty());
    page.one(
        "sockway_ready",
        "gauge",
        "Whether the node is as it should be.",
        ready,
    );
    let drift = known.drift.iter().map(|(k, v)| (*k, *v));
    page.each(
        "sockway_drift_total",
        "counter",
        "Drift found, by what drifted.",
        "what",
        drift,
    );
    let repairs = known.repairs.iter().map(|(k, v)| (*k, *v));
    page.each(
        "sockway_repairs_total",
        "counter",
        "Repairs made, by what.",
        "what",
        repairs,
    );
    for (name, help, value) in [
        (
            "sockway_repair_failures_total",
            "Repairs that failed.",
            known.failures,
        ),
        (
            "sockway_repairs_throttled_total",
            "Repairs put off because they came too often.",
            known.throttled,
        ),
        (
            "sockway_reconciled_pods_total",
            "Pods registered by reconciliation.",
            known.reconciled,
        ),
        (
            "sockway_stale_pods_total",
            "Stale pods removed by reconciliation.",
            known.removed,
        ),
    ] {
        page.one(name, "counter", help, value);
    }
    page.one(
        "sockway_unregistered_pods",
        "gauge",
        "Live pods that the last reconciliation could not register.",
        known.unregistered,
    );
}

fn datapath(page: &mut Page, pins: &Pins, per_pod: usize) -> anyhow::Result<()> {
    let figures = Figures::from(&stats::read(pins)?);
    let pods = pods::gather(pins)?;
    let sockets = stats::sockets(pins)?;
    page.one(
        "sockway_pods",
        "gauge",
        "Registered pods.",
        pods.len() as u64,
    );
    let connections = sockets.div_ceil(2) as u64;
    page.one(
        "sockway_connections",
        "gauge",
        "Accelerated connections now.",
        connections,
    );
    hops(page, &figures);
    reasons(page, &figures);
    page.one(
        "sockway_resumed_total",
        "counter",
        "Times a direction went from TCP back to redirection.",
        figures.resumed,
    );
    page.one(
        "sockway_closed_ends_total",
        "counter",
        "Joined ends that closed.",
        figures.closed,
    );
    fill(page, pins)?;
    if per_pod > 0 {
        of_pods(page, pods, per_pod);
    }
    Ok(())
}

fn hops(page: &mut Page, figures: &Figures) {
    type Pick = fn(&crate::figures::HopFigures) -> u64;
    let families: [(&str, &str, Pick); 5] = [
        (
            "sockway_connections_seen_total",
            "Connections of a registered pod's hop.",
            |h| h.seen,
        ),
        (
            "sockway_connections_on_node_total",
            "Of those, with both ends here.",
            |h| h.on_node,
        ),
        (
            "sockway_connections_joined_total",
            "Of those, accelerated.",
            |h| h.joined,
        ),
        (
            "sockway_redirected_messages_total",
            "Redirected messages.",
            |h| h.redirected_messages,
        ),
        ("sockway_redirected_bytes_total", "Redirected bytes.", |h| {
            h.redirected_bytes
        }),
    ];
    for (name, help, pick) in families {
        let samples = figures.hops.iter().map(|h| (h.hop, pick(h)));
        page.each(name, "counter", help, "hop", samples);
    }
}

fn reasons(page: &mut Page, figures: &Figures) {
    type Pick = fn(&crate::figures::ReasonFigures) -> u64;
    let families: [(&str, &str, Pick); 3] = [
        (
            "sockway_tcp_connections_total",
            "Connections left to TCP, by reason.",
            |r| r.connections,
        ),
        (
            "sockway_tcp_messages_total",
            "Messages of joined connections by TCP.",
            |r| r.messages,
        ),
        (
            "sockway_tcp_bytes_total",
            "Bytes of joined connections by TCP.",
            |r| r.bytes,
        ),
    ];
    for (name, help, pick) in families {
        let samples = figures.tcp.iter().map(|r| (r.reason, pick(r)));
        page.each(name, "counter", help, "reason", samples);
    }
}

fn fill(page: &mut Page, pins: &Pins) -> Result<(), Error> {
    let mut rows = Vec::new();
    let mut capacities = Vec::new();
    for map in MAPS {
        rows.push((map, stats::rows(pins, map)? as u64));
        capacities.push((map, u64::from(stats::capacity(pins, map)?)));
    }
    page.each(
        "sockway_map_rows",
        "gauge",
        "Rows in a map.",
        "map",
        rows.into_iter(),
    );
    page.each(
        "sockway_map_capacity_rows",
        "gauge",
        "Rows a map can hold.",
        "map",
        capacities.into_iter(),
    );
    Ok(())
}

fn of_pods(page: &mut Page, mut pods: Vec<PodState>, most: usize) {
    type Pick = fn(&PodState) -> u64;
    pods.retain(|pod| !pod.name.is_empty());
    pods.sort_by_key(|pod| std::cmp::Reverse(pod.redirected_bytes + pod.tcp_bytes));
    pods.truncate(most);
    let families: [(&str, &str, Pick); 3] = [
        (
            "sockway_pod_connections_total",
            "Accelerated connections of a pod.",
            |p| p.connections,
        ),
        (
            "sockway_pod_redirected_bytes_total",
            "Redirected bytes of a pod.",
            |p| p.redirected_bytes,
        ),
        (
            "sockway_pod_tcp_bytes_total",
            "Bytes of a pod's joined connections by TCP.",
            |p| p.tcp_bytes,
        ),
    ];
    for (name, help, pick) in families {
        page.family(name, "counter", help);
        for pod in &pods {
            let labels = [
                ("namespace", pod.namespace.as_str()),
                ("pod", pod.name.as_str()),
            ];
            page.sample(name, &labels, pick(pod));
        }
    }
}

#[cfg(test)]
mod tests;

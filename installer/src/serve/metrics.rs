//! Figures in Prometheus' text format.

use std::sync::{Mutex, PoisonError};

use sockway_common::calls::{
    BOUNDS_US, OUTCOMES, VERBS, Value as Calls, buckets, outcome_slot, sum_slot,
};
use sockway_datapath::Pins;

use super::sums::{Fill, Sums};
use crate::build::{COMMIT, VERSION};
use crate::keep::shared::Known;
use crate::serve::exposition::Page;
use crate::view::figures::{Figures, HopFigures, ReasonFigures};
use crate::view::pods::PodState;

/// The whole page. `per_pod`: at most so many pods, those with the most bytes.
/// `before`: what the last page showed.
pub fn page(pins: &Pins, known: &Known, per_pod: usize, before: &Mutex<Option<Figures>>) -> String {
    let mut page = Page::default();
    keeper(&mut page, known);
    let sums = Sums::read(pins).inspect_err(|e| log::debug!("metrics: {e:#}"));
    page.one(
        "sockway_datapath_readable",
        "gauge",
        READABLE,
        u64::from(sums.is_ok()),
    );
    if let Ok(mut sums) = sums {
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = &*before {
            sums.figures.not_below(before);
        }
        *before = Some(sums.figures.clone());
        page.one("sockway_off", "gauge", OFF, u64::from(sums.off));
        datapath(&mut page, sums, per_pod);
    }
    page.into_text()
}

const OFF: &str = "Whether the node is switched off (1).";
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
    let as_wanted = known.as_wanted.iter().map(|(k, v)| (*k, u64::from(*v)));
    page.each(
        "sockway_as_wanted",
        "gauge",
        "Whether a thing is as wanted (1) or not (0), by what.",
        "what",
        as_wanted,
    );
    let sees = u64::from(known.late_blind.is_none());
    page.one(
        "sockway_late_readers",
        "gauge",
        "Whether ends that come in late can be redirected to (1), or only send by redirection (0).",
        sees,
    );
    for (name, help, value) in [
        (
            "sockway_pods_in_doubt",
            "Registered pods of which neither a cache nor a namespace can be seen; they stay.",
            known.in_doubt,
        ),
        (
            "sockway_shared_addresses",
            "Addresses that several live pods have.",
            known.shared,
        ),
    ] {
        page.one(name, "gauge", help, value);
    }
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
        "sockway_trips_total",
        "counter",
        "Pods that the tripwire switched off since `sockway run` was started.",
        known.trips,
    );
    page.one(
        "sockway_unregistered_pods",
        "gauge",
        "Live pods that the last reconciliation could not register.",
        known.unregistered,
    );
}

fn datapath(page: &mut Page, sums: Sums, per_pod: usize) {
    let Sums {
        figures,
        pods,
        sockets,
        fill,
        map_bytes,
        calls,
        tcp_bytes,
        off: _,
    } = sums;
    page.one(
        "sockway_pods",
        "gauge",
        "Registered pods.",
        pods.len() as u64,
    );
    page.one(
        "sockway_tripped_pods",
        "gauge",
        "Registered pods that the tripwire switched off, until `sockway on --pod`.",
        pods.iter().filter(|pod| pod.tripped).count() as u64,
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
    rows(page, &fill);
    page.each(
        "sockway_map_memory_bytes",
        "gauge",
        "Kernel memory of a map.",
        "map",
        map_bytes.into_iter(),
    );
    if let Some(bytes) = tcp_bytes {
        page.one("sockway_node_tcp_memory_bytes", "gauge", TCP_MEMORY, bytes);
    }
    plugin(page, &calls);
    if per_pod > 0 {
        of_pods(page, pods, per_pod);
    }
}

const TCP_MEMORY: &str =
    "Memory of all TCP sockets of this node, with redirected bytes that wait at a reader.";

/// The plugin's own calls, which it counts in a map: no process of ours is asked.
fn plugin(page: &mut Page, calls: &Calls) {
    let name = "sockway_plugin_calls_total";
    page.family(
        name,
        "counter",
        "Calls of the CNI plugin, by how they ended.",
    );
    for (verb, verb_name) in VERBS.into_iter().enumerate() {
        for (outcome, outcome_name) in OUTCOMES.into_iter().enumerate() {
            let labels = [("verb", verb_name), ("outcome", outcome_name)];
            page.sample(name, &labels, calls[outcome_slot(verb, outcome)]);
        }
    }
    let name = "sockway_plugin_call_duration_seconds";
    let help = "Time of a call of the CNI plugin, from the start of its own code.";
    page.family(name, "histogram", help);
    for (verb, verb_name) in VERBS.into_iter().enumerate() {
        let sum_us = calls[sum_slot(verb)];
        page.histogram(
            name,
            ("verb", verb_name),
            &BOUNDS_US,
            buckets(calls, verb),
            sum_us,
        );
    }
}

fn hops(page: &mut Page, figures: &Figures) {
    type Pick = fn(&HopFigures) -> u64;
    let families: [(&str, &str, Pick); 7] = [
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
            "Of those, with both ends known to each other.",
            |h| h.joined,
        ),
        (
            "sockway_ends_joined_total",
            "Ends that came into the sockhash when they were established.",
            |h| h.ends_joined,
        ),
        (
            "sockway_ends_joined_late_total",
            "Ends that came into it later.",
            |h| h.ends_joined_late,
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
    let name = "sockway_bytes_total";
    page.family(name, "counter", BYTES);
    for hop in &figures.hops {
        for (direction, way) in [("request", hop.requests), ("response", hop.responses)] {
            for (path, bytes) in [("redirected", way.redirected), ("tcp", way.by_tcp)] {
                let labels = [("hop", hop.hop), ("direction", direction), ("path", path)];
                page.sample(name, &labels, bytes);
            }
        }
    }
}

const BYTES: &str = "Payload bytes of connections of registered pods with both ends on this node, \
by hop, direction and path.";

fn reasons(page: &mut Page, figures: &Figures) {
    type Pick = fn(&ReasonFigures) -> u64;
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
        ("sockway_tcp_bytes_total", "Bytes by TCP, by reason.", |r| {
            r.bytes
        }),
    ];
    for (name, help, pick) in families {
        let samples = figures.tcp.iter().map(|r| (r.reason, pick(r)));
        page.each(name, "counter", help, "reason", samples);
    }
}

fn rows(page: &mut Page, fill: &[Fill]) {
    type Pick = fn(&Fill) -> u64;
    let families: [(&str, &str, Pick); 2] = [
        ("sockway_map_rows", "Rows in a map.", |f| f.rows),
        ("sockway_map_capacity_rows", "Rows a map can hold.", |f| {
            f.capacity
        }),
    ];
    for (name, help, pick) in families {
        let samples = fill.iter().map(|f| (f.map, pick(f)));
        page.each(name, "gauge", help, "map", samples);
    }
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

//! Why a pod's connections are accelerated, or are not: conclusions from what is registered and counted.

use std::net::IpAddr;

use anyhow::Result;
use serde::Serialize;
use sockway_common::addr::IpKey;
use sockway_common::pair::ReaderKey;
use sockway_common::reader::{self, ReaderRow, seen};
use sockway_datapath::{Pins, stats};

use crate::figures::Figures;
use crate::pods::{self, PodState};
use crate::state::State;

/// Everything that bears on one pod.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The address asked about.
    pub ip: IpAddr,
    /// The pod that registered it.
    pub pod: Option<PodState>,
    /// What was learned of the applications at this address.
    pub applications: Vec<Application>,
    /// What follows from all that, the most important first.
    pub findings: Vec<Finding>,
}

/// How an application reads, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Application {
    /// `server` for a listening address, `client` for a dialled one.
    pub kind: &'static str,
    /// The address: where it listens, or what it dials.
    pub address: IpAddr,
    /// Its port.
    pub port: u32,
    /// `fit`, `unfit` or `watched`.
    pub verdict: &'static str,
    /// Why it is unfit.
    pub why: Vec<&'static str>,
    /// Fit reads that were seen.
    pub reads: u16,
}

/// One conclusion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether it speaks for acceleration.
    pub good: bool,
    /// What is so.
    pub what: String,
    /// What can be done; empty where nothing need be.
    pub remedy: &'static str,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self {
            good: true,
            what: what.into(),
            remedy: "",
        }
    }

    fn bad(what: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            good: false,
            what: what.into(),
            remedy,
        }
    }
}

/// Looks at everything that bears on `ip`.
///
/// # Errors
///
/// Where the maps cannot be read.
pub fn gather(pins: &Pins, state: &State, ip: IpAddr) -> Result<Explanation> {
    let mut all = pods::gather(pins)?;
    let at = all.iter().position(|pod| pod.ips.contains(&ip));
    let pod = at.map(|at| all.swap_remove(at));
    let key = IpKey::from(ip);
    let mut applications: Vec<Application> = stats::readers(pins)?
        .iter()
        .filter(|(k, _)| {
            if k.kind == reader::SERVER {
                k.ip == key
            } else {
                k.pod == key
            }
        })
        .map(|(key, row)| application(key, *row))
        .collect();
    applications.sort_by_key(|a| (a.kind, a.address, a.port));
    let findings = findings(state, pod.as_ref(), &applications);
    Ok(Explanation {
        ip,
        pod,
        applications,
        findings,
    })
}

fn application(key: &ReaderKey, row: ReaderRow) -> Application {
    let why = [
        (seen::BLOCKING, "its sockets block"),
        (seen::OTHER_READ, "it reads by splice, sendfile or io_uring"),
        (seen::FIONREAD, "it asks FIONREAD"),
        (seen::RCVLOWAT, "it sets SO_RCVLOWAT"),
        (
            seen::TCP_ONLY,
            "it uses MSG_TRUNC, SO_PEEK_OFF, TCP_INQ, SO_ZEROCOPY or timestamps",
        ),
        (seen::URGENT, "it gets or sends urgent data"),
    ];
    let mut why: Vec<&str> = why
        .into_iter()
        .filter(|(bit, _)| row.seen & bit != 0)
        .map(|(_, text)| text)
        .collect();
    if why.is_empty() && row.shorts > 0 && !reader::fit(&row) {
        why.push("it takes a short read for the end, with edge-triggered epoll");
    }
    let verdict = match (reader::fit(&row), why.is_empty()) {
        (true, _) => "fit",
        (false, true) => "watched",
        (false, false) => "unfit",
    };
    let kind = if key.kind == reader::SERVER {
        "server"
    } else {
        "client"
    };
    Application {
        kind,
        address: key.ip.into(),
        port: key.port,
        verdict,
        why,
        reads: row.reads,
    }
}

fn findings(state: &State, pod: Option<&PodState>, applications: &[Application]) -> Vec<Finding> {
    let mut all = Vec::new();
    if !state.datapath.as_ref().is_some_and(|p| p.attached) {
        all.push(Finding::bad(
            "the programs are not attached: no new connection is accelerated",
            "run `sockway install`",
        ));
    }
    let Some(pod) = pod else {
        all.push(Finding::bad(
            "the address is not registered: it is of no pod of this node, of one excluded or \
             without a sidecar, or of one older than the install",
            "see `sockway pods`; register older pods with `sockway reconcile`",
        ));
        return all;
    };
    all.push(Finding::good(format!(
        "registered as {} with scope {}",
        pod.title(),
        pod.scope
    )));
    match pod.scope {
        "off" => all.push(Finding::bad(
            "scope off: nothing of this pod is touched",
            "see the pod's annotation sockway.io/scope, and scope and excludeNamespaces in the conflist",
        )),
        "proxy" => all.push(Finding::bad(
            "scope proxy: only connections between Envoys are accelerated",
            "set scope auto in the annotation or the conflist",
        )),
        _ => {}
    }
    traffic(pod, &mut all);
    for application in applications {
        all.push(of_application(application));
    }
    if let Some(figures) = &state.figures {
        of_node(figures, &mut all);
    }
    all
}

fn traffic(pod: &PodState, all: &mut Vec<Finding>) {
    if pod.connections == 0 {
        all.push(Finding::bad(
            "no connection was joined yet: none was opened since registration, or its other end is on \
             another node",
            "connections opened before registration stay on TCP until they are opened anew",
        ));
        return;
    }
    let bytes = pod.redirected_bytes + pod.tcp_bytes;
    let share = crate::ui::share(pod.redirected_bytes, bytes);
    let what = format!(
        "{} connections joined, {share} of their bytes redirected",
        pod.connections
    );
    if pod.redirected_bytes >= pod.tcp_bytes {
        all.push(Finding::good(what));
    } else {
        all.push(Finding::bad(what, "the reasons below say what went by TCP"));
    }
}

fn of_application(application: &Application) -> Finding {
    let Application {
        kind,
        address,
        port,
        verdict,
        why,
        reads,
    } = application;
    let who = match *kind {
        "server" => format!("the application listening on {address} port {port}"),
        _ => format!("the application's connections to {address} port {port}"),
    };
    match *verdict {
        "fit" => Finding::good(format!("{who}: reads in a fit way, takes part")),
        "watched" => Finding::bad(
            format!(
                "{who}: watched on TCP, {reads} of {} fit reads seen",
                reader::FIT_READS
            ),
            "goes away with more traffic",
        ),
        _ => Finding::bad(
            format!("{who}: stays on TCP, as {}", why.join(" and ")),
            "its Envoy-to-Envoy hop is accelerated all the same",
        ),
    }
}

/// What went by TCP on the whole node: the counters are not kept by pod.
fn of_node(figures: &Figures, all: &mut Vec<Finding>) {
    for reason in figures
        .tcp
        .iter()
        .filter(|r| r.connections + r.messages > 0)
    {
        all.push(Finding::bad(
            format!(
                "on this node as a whole by TCP, {}: {} connections, {} messages ({})",
                reason.reason,
                crate::ui::count(reason.connections),
                crate::ui::count(reason.messages),
                reason.help
            ),
            "",
        ));
    }
}

#[cfg(test)]
mod tests;

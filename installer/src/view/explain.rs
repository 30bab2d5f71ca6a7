//! Why a pod's connections are accelerated, or are not: every open connection's two ends, what each
//! still lacks, and what follows from all that.

use std::collections::HashMap;
use std::net::IpAddr;

use anyhow::Result;
use serde::Serialize;
use sockway_common::addr::IpKey;
use sockway_common::counters::Reason;
use sockway_common::end::{ACTIVE, EndRow};
use sockway_common::pair::hop;
use sockway_common::part::{Part, Switched};
use sockway_common::program::{FIT_READS, ProgramKey, ProgramRow, has, is_proven, sign};
use sockway_datapath::{Pins, stats};

use crate::ui;
use crate::view::pods::{self, PodState};
use crate::view::state::State;

/// Everything that bears on one pod.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The address asked about.
    pub ip: IpAddr,
    /// The pod that registered it.
    pub pod: Option<PodState>,
    /// Its open connections whose both ends are on this node.
    pub connections: Vec<Connection>,
    /// What follows from all that, the most important first.
    pub findings: Vec<Finding>,
}

/// One open connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// Its hop.
    pub hop: &'static str,
    /// The end that connected.
    pub client: End,
    /// The end that accepted; absent while it is not known.
    pub server: Option<End>,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct End {
    /// Its address and port, as it sees them itself.
    pub address: String,
    /// The programs that hold it, as `name[pid]`; empty where they cannot be seen.
    pub programs: Vec<String>,
    /// Whether it is in the sockhash, and sends by redirection where the other end allows.
    pub joined: bool,
    /// What it lacks to be redirected to; empty where nothing.
    pub lacks: Vec<String>,
    /// Bytes that it sent by redirection.
    pub redirected: u64,
    /// Bytes that it was sent by TCP.
    pub received_by_tcp: u64,
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

/// Looks at everything that bears on `ip`. `names`: who holds which of these ends.
///
/// # Errors
///
/// Where the maps cannot be read.
pub fn gather(
    pins: &Pins,
    state: &State,
    ip: IpAddr,
    names: impl FnOnce(&[(u64, EndRow)]) -> HashMap<u64, Vec<String>>,
) -> Result<Explanation> {
    let mut all = pods::gather(pins)?;
    let at = all.iter().position(|pod| pod.ips.contains(&ip));
    let pod = at.map(|at| all.swap_remove(at));
    let known: HashMap<ProgramKey, ProgramRow> = stats::programs(pins)?.into_iter().collect();
    let all: HashMap<u64, EndRow> = stats::ends(pins)?.into_iter().collect();
    let key = IpKey::from(ip);
    let ours = |row: &EndRow| row.pod == key || all.get(&row.peer).is_some_and(|p| p.pod == key);
    let ends: Vec<(u64, EndRow)> = all
        .iter()
        .filter(|(_, row)| ours(row))
        .map(|(cookie, row)| (*cookie, *row))
        .collect();
    let names = names(&ends);
    let end = |cookie: u64, row: &EndRow| of_end(row, &known, names.get(&cookie));
    let mut connections: Vec<Connection> = ends
        .iter()
        .filter(|(_, row)| row.role & ACTIVE != 0)
        .map(|(cookie, row)| Connection {
            hop: hop::name(row.hop),
            client: end(*cookie, row),
            server: all.get(&row.peer).map(|peer| end(row.peer, peer)),
        })
        .collect();
    connections.sort_by(|a, b| (a.hop, &a.client.address).cmp(&(b.hop, &b.client.address)));
    let findings = findings(state, pod.as_ref(), &connections);
    Ok(Explanation {
        ip,
        pod,
        connections,
        findings,
    })
}

fn of_end(
    row: &EndRow,
    known: &HashMap<ProgramKey, ProgramRow>,
    names: Option<&Vec<String>>,
) -> End {
    let known = known.get(&row.program).copied().unwrap_or_default();
    End {
        address: std::net::SocketAddr::new(row.local.into(), row.local_port).to_string(),
        programs: names.cloned().unwrap_or_default(),
        joined: row.joined != 0,
        lacks: lacks(row, &known),
        redirected: row.redirected,
        received_by_tcp: row.received,
    }
}

/// What an end lacks to be redirected to.
pub fn lacks(row: &EndRow, known: &ProgramRow) -> Vec<String> {
    let mut lacks: Vec<String> = [
        (sign::BLOCKING, "its program's sockets block"),
        (
            sign::OTHER_READ,
            "its program reads by splice, sendfile or io_uring",
        ),
        (sign::FIONREAD, "its program asks FIONREAD"),
        (sign::RCVLOWAT, "its program sets SO_RCVLOWAT"),
        (
            sign::TCP_ONLY,
            "its program uses MSG_TRUNC, SO_PEEK_OFF, TCP_INQ, SO_ZEROCOPY or time stamps",
        ),
        (sign::URGENT, "its program sends urgent data"),
        (
            sign::OTHER_PROGRAM,
            "several executables read what its listening socket accepts",
        ),
    ]
    .into_iter()
    .filter(|(sign, _)| has(known, *sign))
    .map(|(_, text)| text.to_owned())
    .collect();
    if lacks.is_empty() && !is_proven(known) {
        if has(known, sign::EDGE) && !has(known, sign::TO_END) && known.shorts > known.ends {
            lacks.push(
                "its program takes a short read for the end, with edge-triggered epoll".to_owned(),
            );
        } else {
            let seen = known.reads.min(FIT_READS);
            lacks.push(format!(
                "its program is watched: {seen} of {FIT_READS} fit reads seen"
            ));
        }
    }
    if row.joined == 0 && row.alone != 0 {
        lacks.push("it would be alone in the sockhash: the other end is left out".to_owned());
    } else if row.joined == 0 {
        let why = Reason::of(row.why).map_or("", Reason::help);
        lacks.push(if lacks.is_empty() {
            "it comes in within seconds, where `sockway run` keeps the node and not with --late=false".to_owned()
        } else {
            format!("it is not in the sockhash: {why}")
        });
    } else if row.open == 0 {
        lacks.push("it came in late and was not seen at rest yet".to_owned());
    }
    lacks
}

fn findings(state: &State, pod: Option<&PodState>, connections: &[Connection]) -> Vec<Finding> {
    let mut all = Vec::new();
    if !state.datapath.as_ref().is_some_and(|p| p.attached) {
        all.push(Finding::bad(
            "the programs are not attached: no new connection is accelerated",
            "run `sockway install`",
        ));
    }
    if state.off {
        all.push(Finding::bad(
            "the node is switched off: everything goes by TCP",
            "run `sockway on`",
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
        "off" if !pod.why.is_empty() => all.push(Finding::bad(
            format!("{}: nothing of this pod is redirected", pod.why),
            remedy(pod.part),
        )),
        "off" => all.push(Finding::bad(
            "scope off: nothing of this pod is redirected",
            "see the pod's annotation sockway.io/scope, and scope in the conflist",
        )),
        "proxy" => all.push(Finding::bad(
            "scope proxy: only connections to Envoy's inbound port are accelerated",
            "set scope auto in the annotation or the conflist",
        )),
        _ => {}
    }
    traffic(pod, connections, &mut all);
    all
}

/// What can be done where a pod was switched off or is left out.
fn remedy(part: Part) -> &'static str {
    match (part.switched, part.left_out) {
        (Some(Switched::Tripped), _) => {
            "bytes stood still at one of its ends: the log of `sockway run` says which; `sockway on --pod` takes it back in"
        }
        (None, Some(_)) => {
            "see percent, onlyNamespaces and excludeNamespaces in the conflist; `sockway reconcile --all` takes what was \
             changed there to pods that live"
        }
        _ => "run `sockway on --pod`",
    }
}

fn traffic(pod: &PodState, connections: &[Connection], all: &mut Vec<Finding>) {
    if pod.connections == 0 && connections.is_empty() {
        all.push(Finding::bad(
            "no connection of it with both ends on this node is open, and none to it was seen since it was registered",
            "what was open before is found within half a minute, where `sockway run` keeps the node",
        ));
        return;
    }
    let sum = |pick: fn(&End) -> u64| {
        let ends = connections
            .iter()
            .flat_map(|c| [Some(&c.client), c.server.as_ref()]);
        ends.flatten().map(pick).sum::<u64>()
    };
    let (redirected, by_tcp) = (sum(|e| e.redirected), sum(|e| e.received_by_tcp));
    if !connections.is_empty() {
        let what = format!(
            "{} open connections, {} of their bytes redirected",
            connections.len(),
            ui::share(redirected, redirected + by_tcp)
        );
        all.push(if redirected >= by_tcp {
            Finding::good(what)
        } else {
            Finding::bad(what, "the connections below say what each end lacks")
        });
    }
    // Counted where a connection is accepted: a pod that only dials has none.
    if pod.connections == 0 {
        return;
    }
    let bytes = pod.redirected_bytes + pod.tcp_bytes;
    all.push(Finding {
        good: pod.redirected_bytes >= pod.tcp_bytes,
        what: format!(
            "since it was registered {} connections to it, {} of their bytes redirected",
            ui::count(pod.connections),
            ui::share(pod.redirected_bytes, bytes)
        ),
        remedy: "",
    });
}

#[cfg(test)]
mod tests;

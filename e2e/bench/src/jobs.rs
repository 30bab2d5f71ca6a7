//! What is measured.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;

/// A question that a group of cases answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Topic {
    /// The reference article's set-up: echo of 1 KiB over 64 connections
    Echo,
    /// 1 to 256 connections
    Connections,
    /// 64 B to 256 KiB
    Payloads,
    /// HTTP/1.1, HTTP/2, gRPC
    Protocols,
    /// A fixed number of requests per second
    Limited,
    /// One hop on one CPU
    Hop,
    /// New connections
    Connect,
    /// One stream through both Envoys
    Bulk,
    /// Connections that leave the node
    Tax,
    /// Beside many connections and many pods
    Scale,
}

/// How a case is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tool {
    /// fortio's TCP echo through both Envoys.
    FortioTcp,
    /// fortio's HTTP echo through both Envoys.
    FortioHttp,
    /// fortio's gRPC ping through both Envoys.
    FortioGrpc,
    /// h2load with HTTP/1.1 against fortio's HTTP echo through both Envoys.
    Http1,
    /// The same with HTTP/2.
    Http2,
    /// Ping-pong between two threads on one CPU, no Envoy.
    Pair,
    /// New connections between two ends in one thread, no Envoy.
    Knock,
    /// New connections through both Envoys, one request each.
    Dial,
    /// One stream through both Envoys.
    Bulk,
    /// Requests from a registered pod to another node.
    AwayAsk,
    /// New connections from a registered pod to another node.
    AwayDial,
    /// One stream from a registered pod to another node.
    AwayBulk,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// The question it belongs to.
    pub(crate) topic: Topic,
    /// How it is measured.
    pub(crate) tool: Tool,
    /// Connections at a time.
    pub(crate) connections: u32,
    /// Bytes of a message.
    pub(crate) payload: u32,
    /// Requests per second, 0 for as many as it can.
    pub(crate) limit: u32,
    /// Accelerated connections that are open beside it.
    pub(crate) idle: u32,
    /// Pods that are registered beside its own.
    pub(crate) pods: u32,
}

/// A case and the modes it is measured in.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// What.
    pub(crate) case: Case,
    /// How.
    pub(crate) modes: Vec<Mode>,
}

const TWO: &[Mode] = &[Mode::Plain, Mode::Auto];
const THREE: &[Mode] = &[Mode::Plain, Mode::Auto, Mode::Tuple];
const FOUR: &[Mode] = &[Mode::Plain, Mode::Auto, Mode::Tuple, Mode::Blind];
const ENVOYS: &[Mode] = &[
    Mode::Plain,
    Mode::Auto,
    Mode::All,
    Mode::Proxy,
    Mode::Tuple,
    Mode::Blind,
];
const HOP: &[Mode] = &[
    Mode::Plain,
    Mode::Auto,
    Mode::Tuple,
    Mode::Blind,
    Mode::Unix,
];

/// Everything that belongs to some topics; `full` takes every point, else a few;
/// `other`: with another build wherever there is `auto`.
pub(crate) fn jobs(topics: &[Topic], full: bool, other: bool) -> Vec<Job> {
    let mut jobs: Vec<Job> = topics.iter().flat_map(|topic| of(*topic, full)).collect();
    for job in &mut jobs {
        if other && job.modes.contains(&Mode::Auto) {
            job.modes.push(Mode::Other);
        }
    }
    jobs
}

fn of(topic: Topic, full: bool) -> Vec<Job> {
    use Tool::{
        AwayAsk, AwayBulk, AwayDial, Bulk, Dial, FortioGrpc, FortioHttp, FortioTcp, Http1, Http2,
        Knock, Pair,
    };
    let case = |tool, connections, payload| Case {
        topic,
        tool,
        connections,
        payload,
        limit: 0,
        idle: 0,
        pods: 0,
    };
    let job = |modes: &[Mode], case| Job {
        case,
        modes: modes.to_vec(),
    };
    let few = |all: &[u32], quick: &[u32]| if full { all.to_vec() } else { quick.to_vec() };
    match topic {
        Topic::Echo => [FortioTcp, FortioHttp]
            .map(|tool| job(ENVOYS, case(tool, 64, 1024)))
            .into(),
        Topic::Connections => few(&[1, 4, 16, 64, 256], &[1, 16, 256])
            .into_iter()
            .flat_map(|n| [FortioTcp, FortioHttp].map(|tool| job(TWO, case(tool, n, 1024))))
            .collect(),
        Topic::Payloads => few(&[64, 1024, 16 << 10, 256 << 10], &[64, 16 << 10, 256 << 10])
            .into_iter()
            .flat_map(|size| [FortioTcp, FortioHttp].map(|tool| job(TWO, case(tool, 16, size))))
            .collect(),
        Topic::Protocols => [Http1, Http2, FortioGrpc]
            .map(|tool| job(TWO, case(tool, 64, 1024)))
            .into(),
        Topic::Limited => few(&[500, 2000], &[1000])
            .into_iter()
            .flat_map(|limit| [(FortioTcp, limit), (FortioHttp, limit)])
            .map(|(tool, limit)| {
                let case = case(tool, 16, 1024);
                job(TWO, Case { limit, ..case })
            })
            .collect(),
        Topic::Hop => few(&[64, 1024, 16 << 10], &[1024])
            .into_iter()
            .map(|size| job(HOP, case(Pair, 1, size)))
            .collect(),
        Topic::Connect => vec![
            job(FOUR, case(Knock, 1, 64)),
            job(THREE, case(Dial, 16, 64)),
        ],
        Topic::Bulk => vec![job(FOUR, case(Bulk, 1, 256 << 10))],
        Topic::Tax => vec![
            job(TWO, case(AwayAsk, 16, 1024)),
            job(TWO, case(AwayDial, 4, 64)),
            job(TWO, case(AwayBulk, 1, 256 << 10)),
        ],
        Topic::Scale => {
            let idle = few(&[10, 1000, 10_000, 60_000], &[10, 10_000]);
            let pods = few(&[10, 250, 1000, 10_000], &[10, 1000]);
            let beside = idle
                .into_iter()
                .map(|idle| (idle, 250))
                .chain(pods.into_iter().map(|pods| (10, pods)));
            beside
                .flat_map(|(idle, pods)| {
                    [(Pair, 1024), (Knock, 64)].map(|(tool, size)| {
                        let case = case(tool, 1, size);
                        job(TWO, Case { idle, pods, ..case })
                    })
                })
                .collect()
        }
    }
}

impl Tool {
    /// For a table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FortioTcp => "TCP echo (fortio)",
            Self::FortioHttp => "HTTP echo (fortio)",
            Self::FortioGrpc => "gRPC ping (fortio)",
            Self::Http1 => "HTTP/1.1 echo (h2load)",
            Self::Http2 => "HTTP/2 echo (h2load)",
            Self::Pair => "ping-pong, one hop, one CPU",
            Self::Knock => "new connections, one hop, one CPU",
            Self::Dial => "new connections through both Envoys",
            Self::Bulk => "one stream through both Envoys",
            Self::AwayAsk => "requests to another node",
            Self::AwayDial => "new connections to another node",
            Self::AwayBulk => "one stream to another node",
        }
    }

    /// What its rate counts.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Pair => "round trips/s",
            Self::Knock | Self::Dial | Self::AwayDial => "connections/s",
            Self::Bulk | Self::AwayBulk => "MiB/s",
            _ => "requests/s",
        }
    }
}

impl Case {
    /// For a table.
    pub(crate) fn name(&self) -> String {
        let Self {
            topic,
            tool,
            connections,
            payload,
            limit,
            idle,
            pods,
        } = self;
        let mut parts = vec![tool.name().to_owned()];
        if *connections > 1 {
            parts.push(format!("{connections} connections"));
        }
        parts.push(if *payload >= 1024 {
            format!("{} KiB", payload >> 10)
        } else {
            format!("{payload} B")
        });
        if *limit > 0 {
            parts.push(format!("{limit} requests/s asked"));
        }
        if *topic == Topic::Scale {
            parts.push(format!("beside {idle} idle connections and {pods} pods"));
        }
        parts.join(", ")
    }
}

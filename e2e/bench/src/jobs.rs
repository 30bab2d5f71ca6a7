//! What is measured.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::case::{Case, Tool};
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
    /// Where Sockway's maps are full
    Full,
}

/// A case and the modes it is measured in.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// What.
    pub(crate) case: Case,
    /// How.
    pub(crate) modes: Vec<Mode>,
}

/// Idle accelerated connections and registered pods beside a measurement: none.
pub(crate) const EMPTY: (u32, u32) = (0, 0);
/// The same of a busy node.
pub(crate) const CROWDED: (u32, u32) = (10_000, 250);

const TWO: &[Mode] = &[Mode::Plain, Mode::Auto];
const THREE: &[Mode] = &[Mode::Plain, Mode::Auto, Mode::Tuple];
const FOUR: &[Mode] = &[Mode::Plain, Mode::Auto, Mode::Tuple, Mode::Blind];
const FULL: &[Mode] = &[Mode::Plain, Mode::Auto, Mode::Full];
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
        AwayAsk, AwayBulk, AwayDial, AwayReach, Bulk, Dial, FortioGrpc, FortioHttp, FortioTcp,
        Http1, Http2, Knock, Pair, Reach,
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
            job(THREE, case(Reach, 1, 0)),
        ],
        Topic::Bulk => vec![job(FOUR, case(Bulk, 1, 256 << 10))],
        Topic::Tax => {
            let beside = |(idle, pods)| {
                [
                    job(TWO, case(AwayAsk, 16, 1024)),
                    job(TWO, case(AwayDial, 4, 64)),
                    job(THREE, case(AwayReach, 1, 0)),
                ]
                .map(|Job { case, modes }| Job {
                    case: Case { idle, pods, ..case },
                    modes,
                })
            };
            let bulk = job(TWO, case(AwayBulk, 1, 256 << 10));
            let mut jobs = beside(EMPTY).to_vec();
            jobs.push(bulk);
            jobs.extend(beside(CROWDED));
            jobs
        }
        Topic::Scale => {
            let idle = few(&[10, 1000, 10_000, 60_000], &[10, 10_000]);
            let pods = few(&[10, 1000, 10_000], &[10, 1000]);
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
        Topic::Full => vec![
            job(FULL, case(Pair, 1, 1024)),
            job(FULL, case(Knock, 1, 64)),
            job(FULL, case(Dial, 16, 64)),
        ],
    }
}

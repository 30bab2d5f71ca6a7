//! What is measured.

use crate::case::{Case, Tool};
use crate::mode::Mode;
use crate::topic::Topic;

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
/// Where every scope takes part that joins applications.
const FRESH: &[Mode] = &[Mode::Plain, Mode::Auto, Mode::All];
const FULL: &[Mode] = &[Mode::Plain, Mode::Auto, Mode::Full];
const ENVOYS: &[Mode] = &[
    Mode::Plain,
    Mode::Auto,
    Mode::All,
    Mode::Proxy,
    Mode::Tuple,
    Mode::Blind,
    Mode::Pipes,
];
const SECURE: &[Mode] = &[Mode::Plain, Mode::Auto, Mode::All, Mode::Blind, Mode::Pipes];
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

fn job(modes: &[Mode], case: Case) -> Job {
    Job {
        case,
        modes: modes.to_vec(),
    }
}

/// Connections that leave the node, on one that is empty and on a busy one.
fn tax(case: &dyn Fn(Tool, u32, u32) -> Case) -> Vec<Job> {
    let beside = |(idle, pods)| {
        [
            job(TWO, case(Tool::AwayAsk, 16, 1024)),
            job(TWO, case(Tool::AwayDial, 4, 64)),
            job(THREE, case(Tool::AwayReach, 1, 0)),
        ]
        .map(|Job { case, modes }| Job {
            case: Case { idle, pods, ..case },
            modes,
        })
    };
    let mut jobs = beside(EMPTY).to_vec();
    jobs.push(job(TWO, case(Tool::AwayBulk, 1, 256 << 10)));
    jobs.extend(beside(CROWDED));
    jobs
}

/// One hop beside so many idle connections, and beside so many pods.
fn scale(case: &dyn Fn(Tool, u32, u32) -> Case, idle: &[u32], pods: &[u32]) -> Vec<Job> {
    let beside = idle.iter().map(|idle| (*idle, 250));
    let beside = beside.chain(pods.iter().map(|pods| (10, *pods)));
    let jobs = beside.flat_map(|(idle, pods)| {
        [(Tool::Pair, 1024), (Tool::Knock, 64)].map(|(tool, size)| {
            let case = case(tool, 1, size);
            job(TWO, Case { idle, pods, ..case })
        })
    });
    jobs.collect()
}

fn of(topic: Topic, full: bool) -> Vec<Job> {
    use Tool::{
        Bulk, Channel, Dial, Files, FortioGrpc, FortioHttp, FortioTcp, Held, Http1, Http2, Knock,
        Mirror, Pair, PoolHttp, PoolTcp, Reach,
    };
    let case = |tool, connections, payload| Case::new(topic, tool, connections, payload);
    let secure = |case| Case {
        secure: true,
        ..case
    };
    let few = |all: &[u32], quick: &[u32]| if full { all.to_vec() } else { quick.to_vec() };
    match topic {
        Topic::Echo => [FortioTcp, FortioHttp]
            .map(|tool| case(tool, 64, 1024))
            .into_iter()
            .flat_map(|case| [job(ENVOYS, case.clone()), job(SECURE, secure(case))])
            .collect(),
        Topic::Cold => few(&[1, 16, 64, 256], &[64])
            .into_iter()
            .flat_map(|n| [PoolTcp, PoolHttp].map(|tool| case(tool, n, 1024)))
            .flat_map(|case| [job(FRESH, case.clone()), job(FRESH, secure(case))])
            .collect(),
        Topic::Channel => [case(Channel, 1, 1024), secure(case(Channel, 1, 1024))]
            .map(|case| job(FRESH, case))
            .into(),
        Topic::Held => vec![job(TWO, case(Held, 1, 16 << 10))],
        Topic::Half => vec![job(FRESH, case(Files, 64, 1024))],
        Topic::Connections => few(&[1, 4, 16, 64, 256], &[1, 16, 256])
            .into_iter()
            .flat_map(|n| [FortioTcp, FortioHttp].map(|tool| job(TWO, case(tool, n, 1024))))
            .collect(),
        Topic::Payloads => few(&[64, 1024, 16 << 10, 256 << 10], &[64, 16 << 10, 256 << 10])
            .into_iter()
            .flat_map(|size| [FortioTcp, FortioHttp].map(|tool| job(TWO, case(tool, 16, size))))
            .collect(),
        Topic::Protocols => [Http1, Http2, FortioGrpc]
            .map(|tool| case(tool, 64, 1024))
            .into_iter()
            .flat_map(|case| [job(TWO, case.clone()), job(TWO, secure(case))])
            .collect(),
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
        Topic::Bulk => [Bulk, Mirror]
            .map(|tool| job(FOUR, case(tool, 1, 256 << 10)))
            .into(),
        Topic::Tax => tax(&case),
        Topic::Scale => {
            let idle = few(&[10, 1000, 10_000, 60_000], &[10, 10_000]);
            let pods = few(&[10, 1000, 10_000], &[10, 1000]);
            scale(&case, &idle, &pods)
        }
        Topic::Full => vec![
            job(FULL, case(Pair, 1, 1024)),
            job(FULL, case(Knock, 1, 64)),
            job(FULL, case(Dial, 16, 64)),
        ],
    }
}

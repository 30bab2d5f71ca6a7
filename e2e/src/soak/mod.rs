//! `sockway-e2e soak`: verified connections in great number.

pub(crate) mod options;

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;
use sockway_datapath::Datapath;

use crate::bed::tools::Tools;
use crate::hops::Hops;
use crate::output::{self, Format};
use crate::stop;
use crate::world::{Path, Traffic, World};
use options::Options;

/// Connections at a time of blocking applications, which take two threads each.
const BLOCKING: &str = "32";
/// Service addresses that one local port is used towards.
const VIPS: u8 = 20;

/// One path in one manner.
struct Part {
    name: &'static str,
    /// Of all connections, so many thousandths.
    share: u32,
    traffic: Traffic<'static>,
}

fn parts() -> Vec<Part> {
    let part = |name, share, traffic| Part {
        name,
        share,
        traffic,
    };
    let new = Traffic::new;
    let both = |family| new(Path::ThroughBoth, family);
    let ports = ["--source-ports", "10000-11999"].as_slice();
    vec![
        part("direct-v4", 50, new(Path::Direct, 0)),
        part("direct-v6", 50, new(Path::Direct, 1)),
        part("one-envoy-in-v4", 80, new(Path::ThroughServers, 0)),
        part("one-envoy-in-v6", 80, new(Path::ThroughServers, 1)),
        part("one-envoy-out-v4", 80, new(Path::ThroughClients, 0)),
        part("one-envoy-out-v6", 80, new(Path::ThroughClients, 1)),
        part("two-envoys-v4", 130, both(0)),
        part("two-envoys-v6", 130, both(1)),
        part(
            "two-envoys-mapped",
            50,
            Traffic {
                client: &["--mapped"],
                ..both(0)
            },
        ),
        part(
            "two-envoys-server-speaks-first",
            60,
            Traffic {
                listen: ("[::]", ",greet"),
                client: &["--greet"],
                ..both(0)
            },
        ),
        part(
            "two-envoys-deferred-accept",
            60,
            Traffic {
                listen: ("[::]", ",defer"),
                ..both(0)
            },
        ),
        part(
            "two-envoys-reused-ports",
            60,
            Traffic {
                client: ports,
                vips: VIPS,
                ..both(0)
            },
        ),
        part("itself-v4", 50, new(Path::ToItself, 0)),
        part(
            "two-envoys-blocking",
            40,
            Traffic {
                server: &["--blocking"],
                client: &["--blocking", "--concurrency", BLOCKING],
                ..both(0)
            },
        ),
    ]
}

/// What one part came to.
#[derive(Debug, Serialize)]
struct Done {
    part: &'static str,
    connections: u64,
    seconds: f64,
    bytes: u64,
    hops: Hops,
}

/// What all came to.
#[derive(Debug, Serialize)]
struct Results {
    accelerated: bool,
    verified: u64,
    seconds: u64,
    parts: Vec<Done>,
    wrong: Vec<String>,
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accelerated,
            verified,
            seconds,
            parts,
            wrong,
        } = self;
        for Done {
            part,
            connections,
            seconds,
            bytes,
            hops,
        } in parts
        {
            let mib = bytes >> 20;
            writeln!(
                f,
                "{part:<32}{connections:>8} connections {mib:>7} MiB {seconds:>7.1} s  {hops}"
            )?;
        }
        wrong
            .iter()
            .try_for_each(|wrong| writeln!(f, "WRONG {wrong}"))?;
        let mode = if *accelerated { "accelerated" } else { "plain" };
        writeln!(
            f,
            "{verified} connections verified at both ends in {seconds} s, {mode}"
        )
    }
}

/// Runs it.
pub(crate) fn run(options: &Options, format: Format) -> Result<()> {
    let started = Instant::now();
    let world = World::new(&Tools::find()?)?;
    if options.plain {
        Datapath::detach(&world.node.pins())?;
    }
    let parts: Vec<_> = parts()
        .into_iter()
        .filter(|part| part.name.contains(&options.only))
        .collect();
    let shares: u32 = parts.iter().map(|part| part.share).sum();
    let (size, concurrency) = (
        options.max_size.to_string(),
        options.concurrency.to_string(),
    );
    let (seed, limit) = (options.seed.to_string(), options.limit.to_string());
    let mut results = Results {
        accelerated: !options.plain,
        verified: 0,
        seconds: 0,
        parts: vec![],
        wrong: vec![],
    };
    for Part {
        name,
        share,
        traffic,
    } in parts
    {
        stop::check()?;
        let common = [
            "--max-size",
            &size,
            "--concurrency",
            &concurrency,
            "--seed",
            &seed,
            "--time-limit",
            &limit,
        ];
        let kinds = options
            .kinds
            .as_deref()
            .map_or(vec![], |kinds| vec!["--kinds", kinds]);
        let client = [&common, kinds.as_slice(), traffic.client].concat();
        let connections = u64::from(options.connections) * u64::from(share) / u64::from(shares);
        let connections = u32::try_from(connections.max(1)).unwrap_or(u32::MAX);
        let traffic = Traffic {
            client: &client,
            connections,
            limit: Duration::from_secs(options.limit),
            ..traffic
        };
        match world.traffic(&traffic) {
            Ok(outcome) => {
                let report = outcome.client;
                results.verified += report.verified;
                let done = Done {
                    part: name,
                    connections: report.verified,
                    seconds: report.seconds,
                    bytes: report.sent + report.received,
                    hops: outcome.hops,
                };
                eprintln!(
                    "{:7.1} s {name}: {} verified",
                    started.elapsed().as_secs_f64(),
                    done.connections
                );
                results.parts.push(done);
            }
            Err(error) => {
                eprintln!(
                    "{:7.1} s {name}: WRONG {error:#}",
                    started.elapsed().as_secs_f64()
                );
                results.wrong.push(format!("{name}: {error:#}"));
            }
        }
    }
    drop(world);
    results.seconds = started.elapsed().as_secs();
    output::print(&results, format)?;
    if results.wrong.is_empty() {
        Ok(())
    } else {
        bail!("{} parts went wrong", results.wrong.len())
    }
}

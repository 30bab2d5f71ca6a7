//! `sockway-e2e soak`: verified connections in great number.

pub(crate) mod options;
mod parts;
mod results;
mod unrest;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;
use sockway_common::counters::Stats;
use sockway_datapath::{Datapath, stats};
use sockway_testkit::mesh::tools::Tools;
use sockway_testkit::output::{self, Format};
use sockway_testkit::stop;

use crate::world::{Traffic, World};
use options::Options;
use parts::{Part, parts};
pub(crate) use results::Results;
use results::{Done, Facts};
use unrest::Unrest;

/// Runs it.
pub(crate) fn run(options: &Options, format: Format) -> Result<()> {
    let world = World::new(&Tools::find()?)?;
    if options.plain {
        Datapath::detach(&world.node.pins())?;
    }
    let results = soak(&world, options)?;
    drop(world);
    if let Some(path) = &options.record {
        results.record(path)?;
    }
    output::print(&results, format)?;
    results.check()
}

impl Results {
    /// An error where anything was wrong.
    pub(crate) fn check(&self) -> Result<()> {
        if !self.wrong.is_empty() {
            bail!("{} parts went wrong: {}", self.wrong.len(), self.wrong[0]);
        }
        Ok(())
    }
}

/// Every part in turn, on pods that are there.
pub(crate) fn soak(world: &World, options: &Options) -> Result<Results> {
    let started = Instant::now();
    let parts: Vec<_> = parts()
        .into_iter()
        .filter(|part| part.name.contains(&options.only))
        .collect();
    let shares: u32 = parts.iter().map(|part| part.share).sum();
    let before = stats::read(&world.node.pins()).unwrap_or_default();
    let mut unrest = (!options.plain).then(|| Unrest::new(world)).transpose()?;
    let mut results = Results {
        facts: facts(world, options)?,
        accelerated: !options.plain,
        verified: 0,
        seconds: 0,
        joined_late: 0,
        switched: 0,
        killed: 0,
        parts: vec![],
        wrong: vec![],
    };
    for part in parts {
        stop::check()?;
        let name = part.name;
        let left = Duration::from_secs(options.limit).saturating_sub(started.elapsed());
        let connections = u64::from(options.connections) * u64::from(part.share);
        let connections = (connections / u64::from(shares.max(1))).max(1);
        let done = one(
            world,
            options,
            &part,
            u32::try_from(connections)?,
            left,
            unrest.as_mut(),
        );
        let words = match done {
            Ok(done) => {
                results.verified += done.connections;
                let words = format!("{} verified, {} in all", done.connections, results.verified);
                results.parts.push(done);
                words
            }
            Err(error) => {
                results.wrong.push(format!("{name}: {error:#}"));
                format!("WRONG {error:#}")
            }
        };
        if options.progress {
            eprintln!("{:7.1} s {name}: {words}", started.elapsed().as_secs_f64());
        }
    }
    results.seconds = started.elapsed().as_secs();
    if let Some(unrest) = unrest {
        (results.switched, results.killed) = unrest.done();
        let now = stats::read(&world.node.pins())?;
        let late = |of: &Stats| of.joined_late.iter().sum::<u64>();
        results.joined_late = late(&now) - late(&before);
    }
    Ok(results)
}

fn one(
    world: &World,
    options: &Options,
    part: &Part,
    connections: u32,
    limit: Duration,
    unrest: Option<&mut Unrest>,
) -> Result<Done> {
    let Part { name, traffic, .. } = *part;
    let numbers = [
        ("--max-size", u64::from(options.max_size)),
        ("--concurrency", u64::from(options.concurrency)),
        ("--seed", options.seed),
        ("--time-limit", limit.as_secs()),
    ];
    let numbers = numbers.map(|(option, number)| (option, number.to_string()));
    let mut client: Vec<&str> = numbers
        .iter()
        .flat_map(|(option, number)| [*option, number])
        .collect();
    client.extend(options.kinds.iter().flat_map(|kinds| ["--kinds", kinds]));
    client.extend(traffic.client);
    let traffic = Traffic {
        client: &client,
        connections,
        limit,
        ..traffic
    };
    let outcome = world.traffic_with(&traffic, |client| {
        unrest.map_or(Ok(()), |unrest| unrest.beside(world, client))
    })?;
    let report = outcome.client;
    Ok(Done {
        part: name,
        connections: report.verified,
        seconds: report.seconds,
        bytes: report.sent + report.received,
        hops: outcome.hops,
    })
}

fn facts(world: &World, options: &Options) -> Result<Facts> {
    // It fails while nothing is attached, which here may be what is asked for.
    let status = world.node.sockway(&["status", "--output", "json"]);
    let status: Value = serde_json::from_str(&status.ended()?.stdout)?;
    let host = |name: &str| {
        let value = &status["host"][name];
        value
            .as_str()
            .map_or_else(|| Value::to_string(value), str::to_owned)
    };
    Ok(Facts {
        version: format!("{} (commit {})", host("version"), host("commit")),
        kernel: host("kernel"),
        cpus: thread::available_parallelism()?.get(),
        seed: options.seed,
        concurrency: options.concurrency,
        max_size: options.max_size,
    })
}

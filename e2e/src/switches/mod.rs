//! `sockway-e2e switches`: off, on, uninstall and install again and again, under many connections that live on.
//!
//! Every answer of the load is compared. That bytes go by TCP, and no longer do, is seen at the interfaces.

pub(crate) mod options;
mod results;

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use serde_json::Value;
use sockway_datapath::stats;
use sockway_testkit::mesh::keeper::Keeper;
use sockway_testkit::mesh::sidecar::Protocol;
use sockway_testkit::mesh::tools::Tools;
use sockway_testkit::output::{self, Format};
use sockway_testkit::process::Process;
use sockway_testkit::stop;

use crate::suite::lifecycle::nothing_is_left;
use crate::world::World;
use options::Options;
use results::Results;

/// Within so long every direction goes by TCP (`off`).
const EFFECTIVE: Duration = Duration::from_secs(1);
/// Within so long every socket has left, or Sockway is gone.
const GONE: Duration = Duration::from_secs(10);
/// Until as many connections are open as were asked for.
const OPEN: Duration = Duration::from_mins(2);
/// Until all have come in again, beside a load that takes both processors.
const BACK: Duration = Duration::from_mins(1);
/// How long the interfaces are watched.
const LOOK: Duration = Duration::from_millis(300);
/// A command is killed after less than this.
const MIDST_MS: u32 = 1_500;
/// Connections of a conversation.
const HOPS: u32 = 3;
/// Connections without an answer for so long are a fault.
const STALL: &str = "30000";

/// Runs it.
pub(crate) fn run(options: &Options, format: Format) -> Result<()> {
    // Two for each in an Envoy.
    let files = u64::from(options.conversations) * 2 + 1024;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("getrlimit")?;
    let most = most.max(files);
    setrlimit(Resource::RLIMIT_NOFILE, most, most).with_context(|| {
        format!("an Envoy needs {files} files, more than may be open here: fewer --conversations?")
    })?;
    let world = World::new(&Tools::find()?)?;
    let mut results = Results {
        connections: options.conversations * HOPS,
        ..Results::default()
    };
    let connections = options.conversations.to_string();
    let duration = (options.limit * 1000).to_string();
    let client = [
        ["--connections", &connections],
        ["--duration", &duration],
        ["--stall", STALL],
    ]
    .concat();
    let (load, _) = world.load_with(Protocol::Tcp, 0, &client, |client| {
        switch_all(&world, options, client, &mut results)
    })?;
    results.load = load;
    output::print(&results, format)
}

fn switch_all(
    world: &World,
    options: &Options,
    client: &mut Process,
    results: &mut Results,
) -> Result<()> {
    let started = Instant::now();
    let mut keeper = Keeper::start(&world.node, &[])?;
    let wanted = results.connections as usize * 2;
    wait_until_in(world, client, wanted, OPEN).context("opening them")?;
    for time in 1..=options.times {
        stop::check()?;
        let say = |what: String| {
            eprintln!(
                "{:7.1} s {time:>4}: {what}",
                started.elapsed().as_secs_f64()
            );
        };
        let killed = (time % 3 == 0).then_some(time);
        results.killed += u32::from(killed.is_some());
        let (by_tcp, start);
        if time % 10 == 0 {
            keeper.end()?;
            let took = uninstall(world, killed)?;
            results.uninstall.add(took);
            say(format!("uninstall in {} ms", took.as_millis()));
            by_tcp = carried(world)?;
            start = Instant::now();
            keeper = Keeper::start(&world.node, &[])?;
        } else {
            let (effective, took) = off(world, killed)?;
            results.effective.add(effective);
            results.off.add(took);
            say(format!("off in {} ms", took.as_millis()));
            by_tcp = carried(world)?;
            start = Instant::now();
            if let Some(time) = killed {
                let on = world.node.sockway(&["on"]);
                on.killed_after(moment(time) / 20)?;
            }
            world.node.sockway(&["on"]).done()?;
        }
        wait_until_in(world, client, wanted, BACK)?;
        results.back.add(start.elapsed());
        let seen = carried(world)?;
        results.unseen.add(by_tcp, seen);
        say(format!(
            "in again in {} ms; the interfaces carried {seen} bytes, {by_tcp} before",
            start.elapsed().as_millis()
        ));
    }
    keeper.end()?;
    // The load has no need to go on.
    client.signal(Signal::SIGTERM);
    Ok(())
}

/// When in its course a command is killed: another moment each time.
fn moment(time: u32) -> Duration {
    Duration::from_millis(u64::from(time * 97 % MIDST_MS))
}

/// How long until every send went by TCP, and until every socket had left.
fn off(world: &World, killed: Option<u32>) -> Result<(Duration, Duration)> {
    if let Some(time) = killed {
        world.node.sockway(&["off"]).killed_after(moment(time))?;
    }
    let start = Instant::now();
    let report = world.node.sockway(&["off", "-o", "json"]).output()?;
    let took = start.elapsed();
    let report: Value = serde_json::from_str(&report).with_context(|| format!("{report:?}"))?;
    let effective = report["effective_ms"].as_u64().context("effective_ms")?;
    let effective = Duration::from_millis(effective);
    ensure!(effective <= EFFECTIVE, "off after {effective:?}: {report}");
    ensure!(took <= GONE && report["stay"] == 0, "{took:?}: {report}");
    let left = stats::sockets(&world.node.pins())?;
    ensure!(left == 0, "{left} sockets in the sockhash after {report}");
    Ok((effective, took))
}

fn uninstall(world: &World, killed: Option<u32>) -> Result<Duration> {
    if let Some(time) = killed {
        let uninstall = world.node.sockway(&["uninstall"]);
        uninstall.killed_after(moment(time))?;
    }
    let start = Instant::now();
    world.node.uninstall()?;
    let took = start.elapsed();
    ensure!(took <= GONE, "uninstall took {took:?}");
    nothing_is_left(&world.node)?;
    Ok(took)
}

/// Bytes that the interfaces of both pods receive in a moment.
fn carried(world: &World) -> Result<u64> {
    let read = || -> Result<u64> {
        let (client, server) = (&world.client, &world.server);
        let at = [(client, "lo"), (server, "lo"), (server, "eth0")];
        at.iter().map(|(pod, name)| pod.received_bytes(name)).sum()
    };
    let before = read()?;
    sleep(LOOK);
    Ok(read()? - before)
}

/// Waits until so many sockets are in the sockhash: they send by redirection to those that were seen at rest.
fn wait_until_in(
    world: &World,
    client: &mut Process,
    wanted: usize,
    limit: Duration,
) -> Result<()> {
    let start = Instant::now();
    loop {
        stop::check()?;
        client.still_runs()?;
        let sockets = stats::sockets(&world.node.pins())?;
        if sockets >= wanted {
            return Ok(());
        }
        ensure!(
            start.elapsed() < limit,
            "{sockets} of {wanted} sockets are in the sockhash after {} s",
            limit.as_secs()
        );
        sleep(Duration::from_millis(100));
    }
}

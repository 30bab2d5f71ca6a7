//! The tripwire: who stands still is switched off, who is paused, slow or full behind is not.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use sockway_testkit::mesh::keeper::Keeper;
use sockway_testkit::mesh::pod::at;
use sockway_testkit::mesh::sidecar::{INBOUND, Protocol, vip};
use sockway_testkit::patience::until;
use sockway_testkit::process::Process;
use sockway_testkit::stop;

use super::check::succeeded;
use super::memory::Ends;
use super::{Case, Stage};
use crate::world::{Path, Traffic, World};

/// How long a queue may stand still here, seconds, and by when it was seen.
const AFTER: &str = "4";
const TRIPS: Duration = Duration::from_secs(30);
/// Who has not tripped by then does not.
const QUIET: Duration = Duration::from_secs(14);
const END: Duration = Duration::from_secs(10);
/// What is sent to who does not read, bytes, and in each message: enough messages to be counted, and less
/// than what would go on by TCP.
const SENT: &str = "4480";
const SIZE: &str = "64";
/// What a slow reader gets, and how fast, bytes in a second.
const SLOW: [&str; 2] = ["60000", "2000"];

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "tripwire/who_stands_still_goes_by_tcp_until_switched_on": stands_still;
        "tripwire/who_is_paused_is_left_alone": paused;
        "tripwire/who_is_slow_is_left_alone": slow;
        "tripwire/envoys_with_a_full_other_side_are_left_alone": full;
        "tripwire/traffic_trips_nothing": traffic;
    }
}

fn pods(world: &World) -> Result<Vec<Value>> {
    let pods = world.node.json(&["pods"])?;
    serde_json::from_value(pods).context("sockway pods")
}

/// Container ids of pods that have tripped.
fn tripped(world: &World) -> Result<Vec<String>> {
    let tripped = pods(world)?
        .into_iter()
        .filter(|pod| pod["tripped"] == true);
    let ids = tripped.map(|pod| pod["container_id"].as_str().map(str::to_owned));
    ids.map(|id| id.context("a pod without an id")).collect()
}

/// The container id of the pod that serves.
fn served(world: &World) -> Result<String> {
    let ip = world.plain_server.ips()[0].to_string();
    let all = pods(world)?;
    let pod = all.iter().find(|pod| {
        let ips = pod["ips"].as_array().into_iter().flatten();
        ips.filter_map(Value::as_str).any(|at| at == ip)
    });
    let id = pod.and_then(|pod| pod["container_id"].as_str());
    Ok(id.context("the serving pod is not registered")?.to_owned())
}

fn stays_quiet(world: &World, why: &str) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < QUIET {
        stop::check()?;
        let tripped = tripped(world)?;
        ensure!(tripped.is_empty(), "{tripped:?} tripped: {why}");
        sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// The one pod that trips.
fn trips(world: &World) -> Result<String> {
    until(TRIPS, || {
        let mut tripped = tripped(world)?;
        ensure!(tripped.len() <= 1, "{tripped:?} tripped");
        Ok(tripped.pop().ok_or_else(|| "nobody tripped".to_owned()))
    })
}

fn keeper(world: &World) -> Result<Keeper> {
    Keeper::start(&world.node, &["--tripwire", AFTER])
}

/// A program that is told of redirected bytes and does not read them. That it trips, sooner or later, shows
/// that they were redirected.
fn deaf(ends: &Ends<'_>) -> Result<[Process; 2]> {
    let [client, server] = ends.pods();
    let listen = format!("[::]:{INBOUND}");
    let reader = ends.start(server, &["deaf", "--listen", &listen])?;
    let to = at(server.ips()[0], INBOUND);
    let args = [
        "client", "--to", &to, "--prove", "--pace", "25", "--stay", "--size", SIZE, "--total", SENT,
    ];
    let sender = ends.start(client, &args)?;
    Ok([reader, sender])
}

fn stands_still(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    let ends = Ends::new(&world)?;
    let first = keeper(&world)?;
    let [reader, sender] = deaf(&ends)?;
    let pod = trips(&world)?;
    ensure!(pod == served(&world)?, "{pod} tripped");
    let ready = first.page("/readyz")?;
    ensure!(ready.starts_with("HTTP/1.1 200"), "not ready: {ready}");
    // It is counted once the pod's ends are off.
    until(END, || {
        let metrics = first.page("/metrics")?;
        let mut lines = ["sockway_tripped_pods 1", "sockway_trips_total 1"].into_iter();
        let missing = lines.find(|line| !metrics.lines().any(|l| l == *line));
        Ok(missing.map_or(Ok(()), |line| Err(format!("no {line} in {metrics}"))))
    })?;
    let status = world.node.sockway(&["status"]).ended()?;
    let status = succeeded(&status).context("sockway status")?;
    ensure!(
        status.contains("Tripped") && status.contains(&pod[..12]),
        "{status}"
    );
    let ip = world.plain_server.ips()[0].to_string();
    let explained = world.node.sockway(&["explain", &ip]).ended()?;
    let explained = succeeded(&explained).context("sockway explain")?;
    ensure!(explained.contains("tripped: nothing"), "{explained}");
    // Somebody else's settings, and another keeper, change nothing.
    let log = first.end()?;
    ensure!(
        log.contains(&format!("tripped: {pod} is switched off")),
        "{log}"
    );
    ensure!(log.contains("stall["), "the program is not named: {log}");
    let second = keeper(&world)?;
    ensure!(
        tripped(&world)? == [pod.clone()],
        "on again after a restart"
    );
    second.end()?;
    let on = world.node.sockway(&["on", "--pod", &pod]).ended()?;
    succeeded(&on).context("sockway on --pod")?;
    ensure!(tripped(&world)?.is_empty(), "off after `sockway on --pod`");
    let waited = reader.end(END)?;
    ensure!(waited.contains(&format!("waited {SENT}")), "lost: {waited}");
    sender.end(END)?;
    Ok(())
}

fn paused(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    let ends = Ends::new(&world)?;
    let keeper = keeper(&world)?;
    let [reader, _sender] = deaf(&ends)?;
    // In the middle of the very call in which it would be taken for deaf.
    reader.signal(Signal::SIGSTOP);
    let quiet = stays_quiet(&world, "its program is stopped");
    reader.signal(Signal::SIGCONT);
    quiet?;
    let pod = trips(&world).context("once it goes on, and asks")?;
    ensure!(pod == served(&world)?, "{pod} tripped");
    keeper.end()?;
    Ok(())
}

fn slow(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    let ends = Ends::new(&world)?;
    let keeper = keeper(&world)?;
    let [client, server] = ends.pods();
    let listen = format!("[::]:{INBOUND}");
    let args = ["server", "--prove", "--listen", &listen, "--rate", SLOW[1]];
    let _reader = ends.start(server, &args)?;
    let to = at(server.ips()[0], INBOUND);
    let args = [
        "client", "--to", &to, "--prove", "--stay", "--total", SLOW[0],
    ];
    let _sender = ends.start(client, &args)?;
    stays_quiet(&world, "its program reads slowly")?;
    keeper.end()?;
    Ok(())
}

/// Both Envoys stop reading, because the last application does not read.
fn full(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    let keeper = keeper(&world)?;
    let port = world.port(Protocol::Tcp)?;
    let listen = format!("[::]:{port}");
    let args = [
        "-o", "json", "stall", "server", "--prove", "--listen", &listen,
    ];
    let mut reader = world.server.spawn(&world.node, "full-server", &args)?;
    reader.wait_ready()?;
    let to = at(vip(0, 10), port);
    let args = ["-o", "json", "stall", "client", "--prove", "--to", &to];
    let more = ["--connections", "8", "--size", "1024"];
    let mut sender =
        world
            .client
            .spawn(&world.node, "full-client", &[&args[..], &more].concat())?;
    sender.wait_ready_within(TRIPS)?;
    stays_quiet(&world, "what is behind it is full")?;
    keeper.end()?;
    Ok(())
}

fn traffic(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    // As soon as can be.
    let keeper = Keeper::start(&world.node, &["--tripwire", "1"])?;
    let client = &["--max-size", "200000", "--concurrency", "32"];
    let traffic = Traffic {
        connections: 20_000,
        client,
        ..Traffic::new(Path::ThroughBoth, 0)
    };
    world.traffic(&traffic)?;
    let tripped = tripped(&world)?;
    ensure!(tripped.is_empty(), "{tripped:?} tripped under traffic");
    keeper.end()?;
    Ok(())
}

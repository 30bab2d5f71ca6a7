//! Switched off and on, and uninstalled, under traffic: no byte may be wrong, no connection lost.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sockway_datapath::stats;
use sockway_testkit::hops::MESH;
use sockway_testkit::mesh::keeper::Keeper;
use sockway_testkit::mesh::sidecar::Protocol;
use sockway_testkit::patience::until;

use super::check::succeeded;
use super::lifecycle::nothing_is_left;
use super::{Case, Stage};
use crate::world::{Path, Traffic, World};

/// How often the node is switched off and on.
const TIMES: u32 = 100;
/// Between two switches: long enough for ends to come in again.
const PAUSE: Duration = Duration::from_millis(60);
/// Connections that last longer than that.
const MANY: u32 = 90_000;
/// Within so long every direction goes by TCP.
const EFFECTIVE_MS: u64 = 1_000;
/// Within so long every socket has left, and Sockway is gone.
const GONE: Duration = Duration::from_secs(10);
/// Connections that live on, each by way of three hops.
const LONG: &[&str] = &["--connections", "1000", "--duration", "8000"];

/// Connections that see a pod and the node switched.
const SEVERAL: &[&str] = &["--connections", "100", "--duration", "20000"];

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "off/a_hundred_times_in_mid_stream": a_hundred_times;
        "off/uninstall_while_connections_live_on": uninstall;
        "off/who_is_off_leaves_the_sockhash_by_the_keeper": by_the_keeper;
    }
}

fn switch(world: &World, verb: &str) -> Result<Value> {
    world.node.json(&[verb])
}

fn a_hundred_times(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    let keeper = Keeper::start(&world.node, &[])?;
    let client = &["--max-size", "300000", "--concurrency", "32"];
    let traffic = Traffic {
        connections: MANY,
        client,
        ..Traffic::new(Path::ThroughBoth, 0)
    };
    let outcome = world.traffic_with(&traffic, |client| {
        for time in 1..=TIMES {
            sleep(PAUSE);
            let off = switch(&world, "off")?;
            let effective = off["effective_ms"].as_u64().unwrap_or(u64::MAX);
            ensure!(
                effective <= EFFECTIVE_MS,
                "off took {effective} ms at time {time} of {TIMES}"
            );
            ensure!(off["stay"] == 0, "sockets that do not leave: {off}");
            switch(&world, "on")?;
            client
                .still_runs()
                .with_context(|| format!("traffic at time {time} of {TIMES}"))?;
        }
        Ok(())
    })?;
    outcome.hops.redirected_on(&MESH)?;
    keeper.end()?;
    Ok(())
}

fn uninstall(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    let keeper = Keeper::start(&world.node, &[])?;
    world.load_during(Protocol::Tcp, 0, LONG, || {
        // They are open, and have come in.
        sleep(Duration::from_secs(4));
        keeper.end()?;
        let start = Instant::now();
        let ended = world.node.sockway(&["uninstall"]).ended()?;
        succeeded(&ended).context("uninstall while connections live on")?;
        let took = start.elapsed();
        ensure!(took <= GONE, "uninstall took {} ms", took.as_millis());
        Ok(())
    })?;
    nothing_is_left(&world.node)
}

/// Waits until as many sockets are in the sockhash as is wanted.
fn sockets(world: &World, what: &str, wanted: impl Fn(usize) -> bool) -> Result<usize> {
    until(GONE, || {
        let sockets = stats::sockets(&world.node.pins())?;
        let seen = || format!("{sockets} sockets in the sockhash while {what}");
        Ok(wanted(sockets).then_some(sockets).ok_or_else(seen))
    })
}

/// `off --pod`, and a keeper that was told to keep the node off, as by a label: nobody asks sockets to leave
/// but the keeper. Of three hops of a connection the server's last one has nothing of the client's pod.
fn by_the_keeper(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    let keeper = Keeper::start(&world.node, &[])?;
    let (load, _) = world.load_during(Protocol::Tcp, 0, SEVERAL, || {
        let all = sockets(&world, "all is on", |sockets| sockets >= 600)?;
        let pod = world.client.ips()[0].to_string();
        for verb in ["off", "on"] {
            let ended = world.node.sockway(&[verb, "--pod", &pod]).ended()?;
            succeeded(&ended).with_context(|| format!("sockway {verb} --pod"))?;
            let wanted = if verb == "off" { all / 3 } else { all };
            sockets(&world, &format!("a pod is {verb}"), |now| now == wanted)?;
        }
        keeper.end()?;
        let keeper = Keeper::start(&world.node, &["--off"])?;
        sockets(&world, "the node is off", |now| now == 0)?;
        keeper.end()?;
        Ok(())
    })?;
    ensure!(load.faults == 0 && load.requests > 0, "{load}");
    Ok(())
}

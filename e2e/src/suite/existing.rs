//! Sockway comes to pods, Envoys and connections that are there already.

use std::os::unix::fs::symlink;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sockway_common::pair::hop;
use sockway_datapath::{Datapath, stats};
use sockway_testkit::hops::{Hops, MESH};
use sockway_testkit::mesh::keeper::Keeper;
use sockway_testkit::mesh::scratch::LIBCNI_RESULTS;
use sockway_testkit::mesh::sidecar::Protocol;
use sockway_testkit::patience::until;

use super::check::succeeded;
use super::lifecycle::nothing_is_left;
use super::{Case, Stage};
use crate::world::{Path, Traffic, World};

/// Until all connections are open and in use.
const SETTLE: Duration = Duration::from_millis(1500);
/// How long it may take until all have come in.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections of the load, each by way of three hops.
const CONNECTIONS: usize = 48;
/// Ends of a load's connections.
const ENDS: usize = CONNECTIONS * 3 * 2;
/// How long the load runs: longer than [`SETTLE`] and [`PATIENCE`].
const LOAD: &[&str] = &["--connections", "48", "--duration", "25000"];
/// How often programs go and come while streams begin and end, at most and at least.
const LOOKS: u32 = 4;
const LEAST_LOOKS: u32 = 2;
/// How long streams begin unseen before each.
const PLAIN: Duration = Duration::from_millis(500);

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "existing/come_in_under_load": |stage| under_load(stage, "all", 0);
        "existing/watched_first_in_scope_auto": |stage| under_load(stage, "auto", 1);
        "existing/no_byte_wrong_in_mid_stream": in_mid_stream;
        "existing/uninstall_with_them": uninstall;
        "existing/of_pods_that_are_registered_later": registered_later;
        "existing/left_alone_where_not_wanted": not_wanted;
    }
}

/// How many ends are in the sockhash and redirected to.
fn open_ends(world: &World) -> Result<usize> {
    let ends = stats::ends(&world.node.pins())?;
    let open = |(_, row): &&(u64, _)| {
        matches!(
            row,
            sockway_common::end::EndRow {
                joined: 1,
                open: 1,
                ..
            }
        )
    };
    Ok(ends.iter().filter(open).count())
}

/// Waits until all ends of the load have come in.
fn all_in(world: &World, patience: Duration) -> Result<()> {
    until(patience, || {
        let open = open_ends(world)?;
        let seen = || format!("{open} of {ENDS} ends have come in");
        Ok((open >= ENDS).then_some(()).ok_or_else(seen))
    })
}

/// Bytes went by redirection on all hops.
fn all_redirected(hops: &Hops) -> Result<()> {
    for kind in MESH {
        ensure!(
            hops.messages(kind) > 1000,
            "hardly anything was redirected: {hops}"
        );
    }
    Ok(())
}

/// A closed loop never rests as a whole, but its ends do while others have the message.
fn under_load(stage: &Stage, scope: &str, family: usize) -> Result<()> {
    let world = World::without_sockway(&stage.tools)?;
    let mut keeper = None;
    let (load, hops) = world.load_during(Protocol::Tcp, family, LOAD, || {
        sleep(SETTLE);
        keeper = Some(Keeper::start(&world.node, &["--scope", scope])?);
        all_in(&world, PATIENCE)
    })?;
    ensure!(load.faults == 0 && load.requests > 0, "{load}");
    all_redirected(&hops)?;
    ended(&world)
}

/// Connections end, and nothing is left of them; a keeper runs.
fn ended(world: &World) -> Result<()> {
    world.quiet()?;
    // No callback tells of the end of what is older than the programs.
    until(Duration::from_mins(1), || {
        let left = stats::ends(&world.node.pins())?.len();
        let sockets = stats::sockets(&world.node.pins())?;
        let seen = || format!("{left} rows and {sockets} sockets are left");
        Ok((left + sockets == 0).then_some(()).ok_or_else(seen))
    })
}

/// Streams of every shape, among them such as close and reset while they are brought in, and
/// long enough for that. Half of them take turns, small ones in the end, so that there are
/// always some whose hops rest at times, however busy the machine is.
fn streams() -> Traffic<'static> {
    let client = &[
        "--min-size",
        "100000000",
        "--max-size",
        "300000000",
        "--kinds",
        "rounds,rounds,rounds,rounds,rounds,burst,client-half-close,server-half-close,\
         client-abort,server-abort",
        "--turns",
        "30000",
        "--concurrency",
        "6",
    ];
    Traffic {
        connections: 30,
        client,
        ..Traffic::new(Path::ThroughBoth, 0)
    }
}

fn in_mid_stream(stage: &Stage) -> Result<()> {
    let world = World::without_sockway(&stage.tools)?;
    let mut keeper = None;
    let mut most = 0;
    let outcome = world.traffic_with(&streams(), |client| {
        sleep(SETTLE);
        keeper = Some(Keeper::start(&world.node, &["--scope", "all"])?);
        let mut looks = 0;
        while looks < LOOKS && client.still_runs().is_ok() {
            looks += 1;
            most = most.max(open_ends(&world)?);
            // What begins meanwhile is as old as what was there before; the keeper puts them back.
            Datapath::detach(&world.node.pins())?;
            sleep(PLAIN);
            world.node.install()?;
            sleep(SETTLE);
        }
        // How fast the streams are depends on the machine.
        ensure!(looks >= LEAST_LOOKS, "all ended after {looks} looks");
        Ok(())
    })?;
    let messages = outcome.hops.messages(hop::INBOUND);
    ensure!(messages > 0, "nothing was redirected: {}", outcome.hops);
    ensure!(most > 0, "no connection came in: {}", outcome.hops);
    ended(&world)
}

/// Off, on, and uninstall while they live on: they go on by TCP.
fn uninstall(stage: &Stage) -> Result<()> {
    let world = World::without_sockway(&stage.tools)?;
    let (load, _) = world.load_during(Protocol::Tcp, 0, LOAD, || {
        sleep(SETTLE);
        let keeper = Keeper::start(&world.node, &["--scope", "all"])?;
        all_in(&world, PATIENCE)?;
        let off = world.node.sockway(&["off"]).ended()?;
        succeeded(&off).context("off")?;
        let left = stats::sockets(&world.node.pins())?;
        ensure!(left == 0, "{left} sockets after `off`: {off:?}");
        succeeded(&world.node.sockway(&["on"]).ended()?).context("on")?;
        all_in(&world, PATIENCE).context("after `on`")?;
        keeper.end()?;
        let ended = world.node.sockway(&["uninstall"]).ended()?;
        succeeded(&ended).map(drop).context("uninstall")?;
        nothing_is_left(&world.node)
    })?;
    ensure!(load.faults == 0 && load.requests > 0, "{load}");
    nothing_is_left(&world.node)
}

/// The keeper has looked for old connections before it knew of their pods.
fn registered_later(stage: &Stage) -> Result<()> {
    let world = World::without_sockway(&stage.tools)?;
    let mut keeper = None;
    let args = ["--connections", "48", "--duration", "15000"];
    let (load, hops) = world.load_during(Protocol::Tcp, 0, &args, || {
        sleep(SETTLE);
        let results = world.node.scratch.path("results");
        let args = [
            "--scope",
            "all",
            "--reconcile-every",
            "1s",
            "--cni-cache-dir",
            &results.to_string_lossy(),
        ];
        keeper = Some(Keeper::start(&world.node, &args)?);
        sleep(SETTLE);
        ensure!(open_ends(&world)? == 0, "ends of pods that nobody knows");
        symlink(LIBCNI_RESULTS, &results).context("link to what libcni keeps")?;
        all_in(&world, Duration::from_secs(8))
    })?;
    ensure!(load.faults == 0 && load.requests > 0, "{load}");
    all_redirected(&hops)
}

/// Where the option says so, what is old stays on TCP.
fn not_wanted(stage: &Stage) -> Result<()> {
    let world = World::without_sockway(&stage.tools)?;
    let args = ["--connections", "16", "--duration", "6000"];
    let mut keeper = None;
    let (load, hops) = world.load_during(Protocol::Tcp, 0, &args, || {
        sleep(SETTLE);
        let args = ["--scope", "all", "--existing-connections", "false"];
        keeper = Some(Keeper::start(&world.node, &args)?);
        Ok(())
    })?;
    ensure!(load.faults == 0 && load.requests > 0, "{load}");
    let redirected: u64 = hops.0.iter().map(|hop| hop.messages).sum();
    ensure!(redirected == 0, "old connections take part: {hops}");
    Ok(())
}

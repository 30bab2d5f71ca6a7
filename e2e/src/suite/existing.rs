//! Sockway comes to pods, Envoys and connections that are there already.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sockway_common::pair::hop;
use sockway_datapath::Datapath;

use super::check::succeeded;
use super::lifecycle::nothing_is_left;
use super::{Case, Stage};
use crate::bed::node::Node;
use crate::bed::sidecar::Protocol;
use crate::hops::Hops;
use crate::world::{Path, Traffic, World};

/// Until all connections are open and in use.
const SETTLE: Duration = Duration::from_millis(1500);
/// How long it may take until all are brought in.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections of the load, each by way of three hops.
const CONNECTIONS: u64 = 48;
/// How long the load runs: longer than [`SETTLE`] and [`PATIENCE`].
const LOAD: &[&str] = &["--connections", "48", "--duration", "25000"];
/// Looks while streams begin and end, at most and at least.
const LOOKS: u32 = 4;
const LEAST_LOOKS: u32 = 2;
/// How long streams begin unseen before each.
const PLAIN: Duration = Duration::from_millis(500);

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "existing/brought_in_under_load",
            run: under_load,
        },
        Case {
            name: "existing/watched_first_in_scope_auto",
            run: watched_first,
        },
        Case {
            name: "existing/no_byte_wrong_in_mid_stream",
            run: in_mid_stream,
        },
        Case {
            name: "existing/uninstall_with_them",
            run: uninstall,
        },
        Case {
            name: "existing/left_alone_unless_asked_for",
            run: not_asked,
        },
    ]
}

/// What `sockway` says of existing connections.
#[derive(Debug)]
struct Said(Value);

impl Said {
    /// `sockway install` into a node whose traffic runs.
    fn install(node: &Node, scope: &str) -> Result<Self> {
        let args = ["install", "--scope", scope, "--existing-connections"];
        Self::by(node, &args, "/pods/existing")
    }

    /// One more look.
    fn again(node: &Node) -> Result<Self> {
        Self::by(node, &["reconcile", "--existing-connections"], "/existing")
    }

    fn by(node: &Node, args: &[&str], at: &str) -> Result<Self> {
        let text = node.sockway(args).args(["-o", "json"]).output()?;
        let report: Value =
            serde_json::from_str(&text).with_context(|| format!("parse {text:?}"))?;
        let existing = report.pointer(at).context("no existing connections")?;
        ensure!(existing["unavailable"].is_null(), "unavailable: {existing}");
        Ok(Self(existing.clone()))
    }

    fn brought_in(&self) -> Result<u64> {
        self.0["paired"].as_u64().context("no count")
    }

    fn left(&self, why: &str) -> u64 {
        self.0["left"][why].as_u64().unwrap_or(0)
    }
}

/// Looks again until all connections of the load are brought in.
fn bring_in(node: &Node, mut old: u64) -> Result<u64> {
    let started = Instant::now();
    while old < 3 * CONNECTIONS {
        let said = Said::again(node)?;
        old += said.brought_in()?;
        ensure!(
            started.elapsed() < PATIENCE,
            "{old} connections were brought in, then {said:?}"
        );
    }
    Ok(old)
}

/// All three connections of each request were brought in, and bytes went by them.
fn all_redirected(hops: &Hops) -> Result<()> {
    for kind in [hop::OUTBOUND, hop::INBOUND, hop::APP] {
        let hop = hops.get(kind).context("no such hop")?;
        ensure!(hop.joined == CONNECTIONS, "{} joined: {hops}", hop.joined);
        ensure!(
            hop.messages > 1000,
            "hardly anything was redirected: {hops}"
        );
    }
    Ok(())
}

/// A closed loop never rests as a whole, but its hops do while others have the message.
fn under_load(stage: &Stage) -> Result<()> {
    let world = World::without_sockway(&stage.tools)?;
    let (load, hops) = world.load_during(Protocol::Tcp, 0, LOAD, || {
        sleep(SETTLE);
        let said = Said::install(&world.node, "all")?;
        bring_in(&world.node, said.brought_in()?).map(drop)
    })?;
    ensure!(load.faults == 0 && load.requests > 0, "{load}");
    all_redirected(&hops)?;
    ended(&world)
}

/// Of applications nothing is known when Sockway comes: theirs come in with a later look.
fn watched_first(stage: &Stage) -> Result<()> {
    let world = World::without_sockway(&stage.tools)?;
    let (load, hops) = world.load_during(Protocol::Tcp, 1, LOAD, || {
        sleep(SETTLE);
        let said = Said::install(&world.node, "auto")?;
        let old = said.brought_in()?;
        ensure!(
            old <= CONNECTIONS && said.left("observed") > 0,
            "applications of which nothing is known: {said:?}"
        );
        bring_in(&world.node, old).map(drop)
    })?;
    ensure!(load.faults == 0 && load.requests > 0, "{load}");
    all_redirected(&hops)?;
    ended(&world)
}

/// Connections end, and nothing is left of them.
fn ended(world: &World) -> Result<()> {
    world.quiet()?;
    let status = world.node.status()?;
    ensure!(status["connections"] == 0, "connections are left: {status}");
    Ok(())
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
    let mut old = 0;
    let outcome = world.traffic_with(&streams(), |client| {
        sleep(SETTLE);
        old = Said::install(&world.node, "all")?.brought_in()?;
        let mut looks = 0;
        while looks < LOOKS && client.still_runs().is_ok() {
            looks += 1;
            // What begins meanwhile is as old as what was there before.
            Datapath::detach(&world.node.pins())?;
            sleep(PLAIN);
            world.node.install()?;
            old += Said::again(&world.node)?.brought_in()?;
        }
        // How fast the streams are depends on the machine.
        ensure!(looks >= LEAST_LOOKS, "all ended after {looks} looks");
        Ok(())
    })?;
    let messages = outcome.hops.get(hop::INBOUND).map_or(0, |hop| hop.messages);
    ensure!(messages > 0, "nothing was redirected: {}", outcome.hops);
    ensure!(old > 0, "no connection was brought in: {}", outcome.hops);
    ended(&world)
}

/// Uninstall waits for connections that were brought in as for others.
fn uninstall(stage: &Stage) -> Result<()> {
    let world = World::without_sockway(&stage.tools)?;
    let mut old = 0;
    let (load, _) = world.load_during(Protocol::Tcp, 0, LOAD, || {
        sleep(SETTLE);
        old = Said::install(&world.node, "all")?.brought_in()?;
        let args = ["uninstall", "--drain-timeout", "60s"];
        let ended = world.node.sockway(&args).ended()?;
        succeeded(&ended).map(drop).context("uninstall")
    })?;
    ensure!(load.faults == 0 && load.requests > 0, "{load}");
    ensure!(old > 0, "no connection was brought in");
    nothing_is_left(&world.node)
}

/// Without the option, what is old stays on TCP.
fn not_asked(stage: &Stage) -> Result<()> {
    let world = World::without_sockway(&stage.tools)?;
    let args = ["--connections", "16", "--duration", "4000"];
    let (load, hops) = world.load_during(Protocol::Tcp, 0, &args, || {
        sleep(SETTLE);
        world.node.sockway(&["install", "--scope", "all"]).done()
    })?;
    ensure!(load.faults == 0 && load.requests > 0, "{load}");
    let joined: u64 = hops.0.iter().map(|hop| hop.joined).sum();
    ensure!(joined == 0, "{joined} old connections joined: {hops}");
    Ok(())
}

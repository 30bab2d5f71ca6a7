//! SIGKILL of either end and of either Envoy, with bytes under way.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sockway_datapath::Datapath;
use sockway_testkit::mesh::pod::Pod;
use sockway_testkit::patience::until;
use sockway_testkit::traffic::report::Report;

use super::super::{Case, Stage};
use super::census;
use crate::world::{Path, Running, Traffic, World};

/// Connections at a time: all of them are open when it happens.
const CONNECTIONS: u32 = 32;
/// Large enough not to end before; reads and writes of all sizes.
const MANNER: &[&str] = &[
    "--concurrency",
    "32",
    "--min-size",
    "64000000",
    "--max-size",
    "128000000",
    "--kinds",
    "rounds,burst,client-half-close,server-half-close",
    "--stall",
    STALL,
];
/// Seconds without movement that count as a hang.
const STALL: &str = "6";
/// How long all connections may take to end.
const LIMIT: Duration = Duration::from_secs(20);
/// How long it may take until all connections are open.
const START: Duration = Duration::from_secs(20);
/// How long bytes flow before it happens.
const FLOW: Duration = Duration::from_millis(300);
/// By how much the two may differ for reasons of scheduling alone.
const SLACK: Duration = Duration::from_secs(1);

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    cases! {
        "faults/sigkill_of_the_client": |stage| both(stage, Victim::Client);
        "faults/sigkill_of_the_server": |stage| both(stage, Victim::Server);
        "faults/sigkill_of_the_clients_envoy": |stage| both(stage, Victim::ClientsEnvoy);
        "faults/sigkill_of_the_servers_envoy": |stage| both(stage, Victim::ServersEnvoy);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Client,
    Server,
    ClientsEnvoy,
    ServersEnvoy,
}

/// What moves nothing for so long counts as a hang.
const SILENCE: Duration = Duration::from_secs(15);

/// How the survivors saw it.
#[derive(Debug)]
pub(super) struct Seen {
    /// From the fault until no connection was left on any side.
    pub(super) ended: Duration,
    /// Connections at the surviving ends that were cut.
    cut: u64,
    /// Of those, by silence.
    hangs: u64,
}

impl Seen {
    /// No byte was wrong; the connections that were open are cut.
    pub(super) fn new(ended: Duration, reports: &[Report]) -> Result<Self> {
        let mut seen = Self {
            ended,
            cut: 0,
            hangs: 0,
        };
        for report in reports {
            ensure!(report.corrupt() == 0, "wrong bytes: {report}");
            seen.cut += report.faults;
            seen.hangs += report.hangs;
        }
        ensure!(seen.cut > 0, "nothing was under way: {reports:?}");
        Ok(seen)
    }

    /// The same with some more connections hung, and the time after which traffic calls that so.
    pub(super) fn allowing(mut self, more: u64) -> Self {
        self.hangs += more;
        self.ended += SILENCE;
        self
    }

    /// Not worse than what plain TCP shows.
    pub(super) fn compare(&self, plain: &Self) -> Result<()> {
        ensure!(
            self.hangs <= plain.hangs,
            "{} connections hung, with plain TCP {}",
            self.hangs,
            plain.hangs
        );
        ensure!(
            self.ended <= plain.ended + SLACK,
            "the last connection ended after {:?}, with plain TCP after {:?}",
            self.ended,
            plain.ended
        );
        Ok(())
    }
}

/// Accelerated, then plain, then whether all is well again.
fn both(stage: &Stage, victim: Victim) -> Result<()> {
    let mut world = World::new(&stage.tools)?;
    let accelerated = once(&mut world, victim, true).context("accelerated")?;
    Datapath::detach(&world.node.pins())?;
    let plain = once(&mut world, victim, false).context("plain")?;
    accelerated.compare(&plain)?;
    world.node.install()?;
    let outcome = world.traffic(&Traffic {
        connections: 200,
        ..Traffic::new(Path::ThroughBoth, 1)
    })?;
    ensure!(
        outcome.hops.0.iter().take(3).all(|hop| hop.messages > 0),
        "not accelerated afterwards: {}",
        outcome.hops
    );
    census::nothing_left(&world)
}

fn once(world: &mut World, victim: Victim, accelerated: bool) -> Result<Seen> {
    let Running { server, client, .. } = flowing(world, accelerated)?;
    let (client, server) = match victim {
        Victim::Client => {
            client.kill()?;
            (None, Some(server))
        }
        Victim::Server => {
            server.kill()?;
            (Some(client), None)
        }
        Victim::ClientsEnvoy => {
            world.client.kill_sidecar()?;
            (Some(client), Some(server))
        }
        Victim::ServersEnvoy => {
            world.server.kill_sidecar()?;
            (Some(client), Some(server))
        }
    };
    let ended = census::ended(world, LIMIT)?;
    let mut reports = Vec::new();
    if let Some(client) = client {
        reports.push(Report::in_output(&client.ended(LIMIT)?)?);
    }
    if let Some(server) = server {
        reports.push(Report::in_output(&server.end(LIMIT)?)?);
    }
    census::nothing_left(world)?;
    world.restart_sidecars()?;
    Seen::new(ended, &reports)
}

/// Large transfers under way on every connection, nearly all by redirection or none.
pub(super) fn flowing(world: &World, accelerated: bool) -> Result<Running> {
    let traffic = Traffic {
        client: MANNER,
        connections: CONNECTIONS,
        ..Traffic::new(Path::ThroughBoth, 0)
    };
    let running = world.begin(&traffic)?;
    let before = world.figures()?;
    // Three hops, both ends of the first and the last in the same pod.
    let wanted = 6 * CONNECTIONS as usize;
    until(START, || {
        let open = [&world.client, &world.server].map(Pod::established);
        let open: usize = open.into_iter().sum::<Result<_>>()?;
        let seen = || format!("only {open} of {wanted} ends established");
        Ok((open >= wanted).then_some(()).ok_or_else(seen))
    })?;
    sleep(FLOW);
    let hops = world.figures()?.since(&before);
    let redirected: u64 = hops.0.iter().map(|hop| hop.messages).sum();
    ensure!(
        (redirected > 0) == accelerated,
        "{redirected} messages were redirected: {hops}"
    );
    Ok(running)
}

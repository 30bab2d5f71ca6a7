//! Every byte right, on every path, in every manner of connecting.

use anyhow::{Result, ensure};
use sockway_common::pair::hop;
use sockway_testkit::hops::MESH;

use super::{Case, Stage};
use crate::world::{Outcome, Path, Traffic};

/// Least share of connections that are joined on a hop whose ends are fit, where
/// a few may be missed: connections reset before they were accepted.
const MOST: f64 = 0.9;

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "integrity/direct_v4_is_left_alone": |s| direct(s, 0);
        "integrity/direct_v6_is_left_alone": |s| direct(s, 1);
        "integrity/through_the_servers_envoy_v4": |s| through(s, Path::ThroughServers, 0, &[hop::INBOUND, hop::APP]);
        "integrity/through_the_servers_envoy_v6": |s| through(s, Path::ThroughServers, 1, &[hop::INBOUND, hop::APP]);
        "integrity/through_the_clients_envoy_v4": |s| through(s, Path::ThroughClients, 0, &[hop::OUTBOUND]);
        "integrity/through_the_clients_envoy_v6": |s| through(s, Path::ThroughClients, 1, &[hop::OUTBOUND]);
        "integrity/through_both_envoys_v4": |s| through(s, Path::ThroughBoth, 0, &MESH);
        "integrity/through_both_envoys_v6": |s| through(s, Path::ThroughBoth, 1, &MESH);
        "integrity/through_both_envoys_by_pod_address": |s| through(s, Path::ThroughBothByPod, 0, &MESH);
        "integrity/to_itself_by_service_address_v4": |s| through(s, Path::ToItself, 0, &SELF);
        "integrity/to_itself_by_service_address_v6": |s| through(s, Path::ToItself, 1, &SELF);
        "integrity/ipv4_only_listener": |s| with(s, |t| Traffic { listen: ("0.0.0.0", ""), ..t }, &MESH);
        "integrity/v4_mapped_client": |s| with(s, |t| Traffic { client: &["--mapped"], ..t }, &MESH);
        "integrity/server_speaks_first_v4": |s| greeting(s, 0);
        "integrity/server_speaks_first_v6": |s| greeting(s, 1);
        "integrity/deferred_accept_direct_to_envoy_v4": |s| deferred(s, Path::ThroughServers, 0);
        "integrity/deferred_accept_v4": |s| deferred(s, Path::ThroughBoth, 0);
        "integrity/deferred_accept_v6": |s| deferred(s, Path::ThroughBoth, 1);
        "integrity/one_local_port_to_many_services_v4": |s| reused_ports(s, 0);
        "integrity/one_local_port_to_many_services_v6": |s| reused_ports(s, 1);
        "integrity/bursts_straight_after_connect": |s| only(s, "burst");
        "integrity/half_close_both_ways": |s| only(s, "client-half-close,server-half-close");
        "integrity/resets": |s| only(s, "client-abort,server-abort");
        "integrity/many_small_connections": |s| with(s, |t| Traffic {
            client: &["--max-size", "512", "--concurrency", "256"], connections: 10_000, ..t
        }, &MESH);
        "integrity/blocking_both": |s| blocking(s, &["--blocking"], &["--blocking"], &[]);
        "integrity/blocking_server": |s| blocking(s, &["--blocking"], &[], &[hop::OUTBOUND]);
        "integrity/blocking_client": |s| blocking(s, &[], &["--blocking"], &[hop::APP]);
        "integrity/blocking_server_speaks_first": |s| with(s, |t| Traffic {
            listen: ("[::]", ",greet"),
            server: &["--blocking"],
            client: &["--blocking", "--greet", "--concurrency", "32"],
            connections: 500,
            ..t
        }, &[hop::INBOUND]);
    }
}

const SELF: [u32; 3] = [hop::OUTBOUND, hop::SELF_INBOUND, hop::APP];

/// Bytes went over each of these hops by redirection, on most connections.
fn accelerated(outcome: &Outcome, hops: &[u32]) -> Result<()> {
    let counted = &outcome.hops;
    counted.redirected_on(hops)?;
    for kind in hops {
        let name = hop::name(*kind);
        ensure!(
            counted.get(*kind)?.share() >= MOST,
            "few connections were joined on hop {name}: {counted}"
        );
    }
    Ok(())
}

fn direct(stage: &Stage, family: usize) -> Result<()> {
    let outcome = stage
        .world()?
        .traffic(&Traffic::new(Path::Direct, family))?;
    let touched = outcome
        .hops
        .0
        .iter()
        .any(|hop| hop.local + hop.joined + hop.messages > 0);
    ensure!(
        !touched,
        "connections between plain pods were touched: {}",
        outcome.hops
    );
    Ok(())
}

fn through(stage: &Stage, path: Path, family: usize, hops: &[u32]) -> Result<()> {
    accelerated(&stage.world()?.traffic(&Traffic::new(path, family))?, hops)
}

/// Between both Envoys by IPv4, changed in some way.
fn with(stage: &Stage, change: fn(Traffic<'_>) -> Traffic<'_>, hops: &[u32]) -> Result<()> {
    let traffic = change(Traffic::new(Path::ThroughBoth, 0));
    accelerated(&stage.world()?.traffic(&traffic)?, hops)
}

fn greeting(stage: &Stage, family: usize) -> Result<()> {
    let traffic = Traffic {
        listen: ("[::]", ",greet"),
        client: &["--greet"],
        ..Traffic::new(Path::ThroughBoth, family)
    };
    accelerated(&stage.world()?.traffic(&traffic)?, &MESH)
}

/// The first bytes race with the setting up of the passive end.
fn deferred(stage: &Stage, path: Path, family: usize) -> Result<()> {
    let traffic = Traffic {
        listen: ("[::]", ",defer"),
        ..Traffic::new(path, family)
    };
    accelerated(&stage.world()?.traffic(&traffic)?, &[hop::INBOUND])
}

/// REDIRECT then rewrites source ports: addresses no longer name a pair.
fn reused_ports(stage: &Stage, family: usize) -> Result<()> {
    let traffic = Traffic {
        client: &["--source-ports", "10000-10199", "--concurrency", "128"],
        vips: 20,
        connections: 3000,
        ..Traffic::new(Path::ThroughBoth, family)
    };
    accelerated(&stage.world()?.traffic(&traffic)?, &MESH)
}

fn only(stage: &Stage, kinds: &str) -> Result<()> {
    let kinds = ["--kinds", kinds];
    for family in 0..2 {
        let traffic = Traffic {
            client: &kinds,
            ..Traffic::new(Path::ThroughBoth, family)
        };
        // The warm-up's own kinds come later on the command line and win.
        accelerated(&stage.world()?.traffic(&traffic)?, &MESH)?;
    }
    Ok(())
}

/// Blocking applications stay on TCP in scope auto; Envoy to Envoy does not.
fn blocking(stage: &Stage, server: &[&str], client: &[&str], more: &[u32]) -> Result<()> {
    let client = [client, &["--concurrency", "32"]].concat();
    let traffic = Traffic {
        server,
        client: &client,
        connections: 500,
        ..Traffic::new(Path::ThroughBoth, 0)
    };
    let outcome = stage.world()?.traffic(&traffic)?;
    accelerated(&outcome, &[hop::INBOUND])?;
    accelerated(&outcome, more)?;
    for kind in [hop::OUTBOUND, hop::APP] {
        let blocks = !more.contains(&kind) && {
            let end = if kind == hop::OUTBOUND {
                &client[..]
            } else {
                server
            };
            end.contains(&"--blocking")
        };
        let redirected = outcome.hops.messages(kind);
        let name = hop::name(kind);
        ensure!(
            !blocks || redirected == 0,
            "{redirected} messages redirected on hop {name} of a blocking application"
        );
    }
    Ok(())
}

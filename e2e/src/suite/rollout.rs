//! Stages of a roll-out: who is left out stays on TCP, and follows when the settings change.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sockway_datapath::stats;
use sockway_testkit::mesh::keeper::Keeper;
use sockway_testkit::mesh::sidecar::Protocol;

use super::check::succeeded;
use super::{Case, Stage};
use crate::world::{Path, Traffic, World};

/// A pool that is opened at once and lives on.
const POOL: &[&str] = &["--connections", "16", "--duration", "4000"];

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "rollout/changed_settings_reach_pods_that_live": changed;
        "rollout/new_connections_only": new_only;
    }
}

/// What `sockway pods` says of every pod: its scope, and why.
fn said(world: &World) -> Result<Vec<(String, String)>> {
    let pods = world.node.json(&["pods"])?;
    let text_of = |pod: &Value, key: &str| pod[key].as_str().unwrap_or_default().to_owned();
    let pods = pods.as_array().context("no list")?;
    Ok(pods
        .iter()
        .map(|pod| (text_of(pod, "scope"), text_of(pod, "why")))
        .collect())
}

fn all_say(world: &World, scope: &str, why: &str) -> Result<()> {
    let said = said(world)?;
    let right = said
        .iter()
        .all(|pod| *pod == (scope.to_owned(), why.to_owned()));
    ensure!(right && said.len() == 4, "not {scope}, {why:?}: {said:?}");
    Ok(())
}

/// Bytes of verified traffic that were redirected.
fn redirected(world: &World) -> Result<u64> {
    let before: u64 = stats::read(&world.node.pins())?
        .redirected_bytes
        .iter()
        .sum();
    world.traffic(&Traffic {
        connections: 200,
        ..Traffic::new(Path::ThroughBoth, 0)
    })?;
    let after: u64 = stats::read(&world.node.pins())?
        .redirected_bytes
        .iter()
        .sum();
    Ok(after - before)
}

fn changed(stage: &Stage) -> Result<()> {
    let world = World::installed_with(&stage.tools, &["--percent", "0"])?;
    all_say(&world, "off", "left out: percent 0")?;
    ensure!(redirected(&world)? == 0, "bytes of pods that are left out");
    let sockway = |args: &[&str]| world.node.sockway(args).done();
    sockway(&["install", "--percent", "100"])?;
    all_say(&world, "off", "left out: percent 0")?;
    sockway(&["reconcile", "--all"])?;
    all_say(&world, "auto", "")?;
    ensure!(redirected(&world)? > 0, "nothing, now that all take part");
    sockway(&["install", "--only-namespace", "shop"])?;
    sockway(&["reconcile", "--all"])?;
    all_say(&world, "off", "left out: only other namespaces take part")?;
    let ip = world.server.ips()[0].to_string();
    let explained = world.node.sockway(&["explain", &ip]).ended()?;
    let explained = succeeded(&explained).context("sockway explain")?;
    let says = explained.contains("left out: only other namespaces take part: nothing of this pod");
    ensure!(says, "{explained}");
    ensure!(
        redirected(&world)? == 0,
        "bytes of pods of another namespace"
    );
    Ok(())
}

fn new_only(stage: &Stage) -> Result<()> {
    let world = World::new(&stage.tools)?;
    let keeper = Keeper::start(&world.node, &["--late", "false"])?;
    world.load_during(Protocol::Tcp, 0, POOL, || Ok(()))?;
    let late = || -> Result<u64> {
        let stats = stats::read(&world.node.pins())?;
        Ok(stats.joined_late.iter().sum())
    };
    ensure!(late()? == 0, "{} ends of a cold pool came in late", late()?);
    ensure!(redirected(&world)? > 0, "new connections take no part");
    ensure!(late()? == 0, "{} ends came in late", late()?);
    keeper.end()?;
    Ok(())
}

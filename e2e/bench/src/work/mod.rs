//! Measures one case.

mod fortio;
mod h2load;
pub(crate) mod hop;
mod pool;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sockway_testkit::mesh::node::Node;
use sockway_testkit::mesh::pod::{Pod, at};
use sockway_testkit::mesh::sidecar::vip;
use sockway_testkit::process::Process;

use crate::case::{Case, Tool};
use crate::results::Measured;
use crate::scene::Scene;
use crate::stage::{self, Stage};

/// Longer than a measurement takes beyond its own time.
const SLACK: Duration = Duration::from_secs(40);

/// Runs it once.
pub(crate) fn measure(scene: &Scene, case: &Case, millis: u64) -> Result<Measured> {
    match case.tool {
        Tool::Pair | Tool::Knock | Tool::Reach | Tool::Held => hop::run(scene, case, millis),
        Tool::AwayAsk | Tool::AwayDial | Tool::AwayBulk | Tool::AwayReach => {
            let (node, to) = (&scene.stage.node, scene.other.ips()[0]);
            dial(node, &scene.leaver, to, case, millis)
        }
        _ => through(&scene.stage, case, millis),
    }
}

/// Runs it once through both Envoys.
pub(crate) fn through(stage: &Stage, case: &Case, millis: u64) -> Result<Measured> {
    match case.tool {
        Tool::FortioTcp | Tool::FortioHttp | Tool::FortioGrpc | Tool::Files => {
            fortio::run(stage, case, millis)
        }
        Tool::Channel => fortio::channel(stage, case, millis),
        Tool::Http1 | Tool::Http2 => h2load::run(stage, case, millis),
        Tool::PoolTcp | Tool::PoolHttp => pool::run(stage, case, millis),
        Tool::Dial | Tool::Bulk | Tool::Mirror => {
            dial(&stage.node, &stage.client, vip(0, 10), case, millis)
        }
        _ => bail!("{} is not through both Envoys", case.tool.name()),
    }
}

fn dial(node: &Node, from: &Pod, to: IpAddr, case: &Case, millis: u64) -> Result<Measured> {
    let (verb, port) = match case.tool {
        Tool::Bulk | Tool::AwayBulk => ("bulk", stage::SINK),
        Tool::Mirror => ("mirror", stage::ECHO),
        Tool::AwayAsk => ("ask", stage::ECHO),
        Tool::AwayReach => ("reach", stage::ECHO),
        _ => ("dial", stage::ECHO),
    };
    let port = stage::port(port, case.secure);
    let [connections, size, millis_text] =
        [u64::from(case.connections), u64::from(case.payload), millis].map(|n| n.to_string());
    let args = [
        "endpoint",
        verb,
        "--to",
        &at(to, port),
        "--connections",
        &connections,
        "--size",
        &size,
        "--millis",
        &millis_text,
    ];
    read(from.spawn(node, verb, &args)?, millis)
}

/// What an endpoint measured.
fn read(process: Process, millis: u64) -> Result<Measured> {
    let text = process.finish(Duration::from_millis(millis) + SLACK)?;
    serde_json::from_str(text.trim()).with_context(|| format!("parse {text:?}"))
}

/// The yardstick: the same between the ends of an `AF_UNIX` pair.
pub(crate) fn unix(scene: &Scene, case: &Case, millis: u64) -> Result<Measured> {
    hop::pair(
        (&scene.stage.node, &scene.hop),
        "pair",
        "unix",
        case,
        millis,
    )
}

//! Measures one case.

mod fortio;
mod h2load;
pub(crate) mod hop;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use sockway_e2e::bed::pod::{Pod, at};
use sockway_e2e::bed::process::Process;
use sockway_e2e::bed::sidecar::vip;

use crate::case::{Case, Tool};
use crate::results::Measured;
use crate::scene::{self, Scene};

/// Longer than a measurement takes beyond its own time.
const SLACK: Duration = Duration::from_secs(40);

/// Runs it once.
pub(crate) fn measure(scene: &Scene, case: &Case, millis: u64) -> Result<Measured> {
    let service = vip(0, 10);
    match case.tool {
        Tool::FortioTcp => fortio::run(
            scene,
            case,
            millis,
            &format!("tcp://{}", at(service, scene::TCP)),
        ),
        Tool::FortioHttp => fortio::run(
            scene,
            case,
            millis,
            &format!("http://{}/", at(service, scene::HTTP)),
        ),
        Tool::FortioGrpc => fortio::run(scene, case, millis, &at(service, scene::GRPC)),
        Tool::Http1 | Tool::Http2 => h2load::run(
            scene,
            case,
            millis,
            &format!("http://{}/", at(service, scene::HTTP)),
        ),
        Tool::Pair | Tool::Knock | Tool::Reach => hop::run(scene, case, millis),
        Tool::Dial | Tool::Bulk => dial(scene, &scene.client, service, case, millis),
        Tool::AwayAsk | Tool::AwayDial | Tool::AwayBulk | Tool::AwayReach => {
            dial(scene, &scene.leaver, scene.other.ips()[0], case, millis)
        }
    }
}

fn dial(scene: &Scene, from: &Pod, to: IpAddr, case: &Case, millis: u64) -> Result<Measured> {
    let (verb, port) = match case.tool {
        Tool::Bulk | Tool::AwayBulk => ("bulk", scene::SINK),
        Tool::AwayAsk => ("ask", scene::ECHO),
        Tool::AwayReach => ("reach", scene::ECHO),
        _ => ("dial", scene::ECHO),
    };
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
    read(from.spawn(&scene.node, verb, &args)?, millis)
}

/// What an endpoint measured.
fn read(process: Process, millis: u64) -> Result<Measured> {
    let text = process.finish(Duration::from_millis(millis) + SLACK)?;
    serde_json::from_str(text.trim()).with_context(|| format!("parse {text:?}"))
}

/// The yardstick: the same between the ends of an `AF_UNIX` pair.
pub(crate) fn unix(scene: &Scene, case: &Case, millis: u64) -> Result<Measured> {
    hop::pair((&scene.node, &scene.hop), "pair", "unix", case, millis)
}

//! One hop in a namespace of its own.

use anyhow::Result;
use sockway_testkit::mesh::node::Node;
use sockway_testkit::mesh::pod::at;
use sockway_testkit::mesh::sidecar::INBOUND;

use super::read;
use crate::case::{Case, Tool};
use crate::hop::{ENDS, Hop};
use crate::results::Measured;
use crate::scene::Scene;

/// Runs it once.
pub(super) fn run(scene: &Scene, case: &Case, millis: u64) -> Result<Measured> {
    let verb = match case.tool {
        Tool::Knock => "knock",
        Tool::Reach => "reach-here",
        Tool::Held => "held",
        _ => "pair",
    };
    pair((&scene.stage.node, &scene.hop), verb, "tcp", case, millis)
}

/// The pair itself.
pub(crate) fn pair(
    (node, hop): (&Node, &Hop),
    verb: &str,
    kind: &str,
    case: &Case,
    millis: u64,
) -> Result<Measured> {
    let [from, to] = ENDS.map(str::parse::<std::net::IpAddr>);
    let (from, to) = (at(from?, 0), at(to?, INBOUND));
    let (size, millis_text) = (case.payload.to_string(), millis.to_string());
    let args = [
        "endpoint",
        verb,
        "--kind",
        kind,
        "--from",
        &from,
        "--to",
        &to,
        "--size",
        &size,
        "--millis",
        &millis_text,
    ];
    read(hop.start(node, verb, &args)?, millis)
}

//! The measurements, plain and accelerated in turn.

use std::time::Duration;

use anyhow::{Result, bail};
use sockway_testkit::hops::{Figures, Hops};
use sockway_testkit::load::report::Report as Load;
use sockway_testkit::mesh::load;

use super::options::Options;
use super::progress::Progress;
use super::scene::{self, ROWS, Row, Scene};

/// Connections before each measurement, one after the other, from which the
/// datapath learns how the applications read.
const WARM_UP: u32 = 4;
/// Longer than any measurement beyond its own duration, milliseconds.
const SLACK: u64 = 30_000;

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// True where new connections were accelerated.
    pub(crate) accelerated: bool,
    /// What was measured.
    pub(crate) row: &'static str,
    /// Figures of the load.
    pub(crate) load: Load,
    /// Figures of the datapath.
    pub(crate) hops: Hops,
}

/// All of them. Which mode comes first changes from round to round.
pub(crate) fn run(scene: &mut Scene, options: &Options, progress: &Progress) -> Result<Vec<Round>> {
    let Options {
        rounds,
        connections,
        size,
        ..
    } = options;
    progress.step(&format!(
        "{rounds} rounds, {connections} connections, requests of {size} bytes"
    ));
    progress.note(&format!(
        "before each measurement {WARM_UP} connections one after the other: in scope auto an application is watched first"
    ));
    let mut done = Vec::new();
    for round in 0..*rounds {
        let modes = if round % 2 == 0 {
            [false, true]
        } else {
            [true, false]
        };
        for accelerated in modes {
            if accelerated {
                scene.accelerated()?;
            } else {
                scene.plain()?;
            }
            let rows = ROWS.into_iter();
            for row in rows.filter(|row| options.mtls.takes(row.secure)) {
                let mode = if accelerated { "accelerated" } else { "plain" };
                progress.step(&format!("round {}: {}, {mode}", round + 1, row.name));
                let one = measure(scene, options, accelerated, row)?;
                progress.note(one.load.to_string().trim_end());
                if accelerated {
                    progress.note(&one.hops.to_string());
                }
                done.push(one);
            }
        }
    }
    scene.accelerated()?;
    Ok(done)
}

fn measure(
    scene: &Scene,
    options: &Options,
    accelerated: bool,
    Row {
        name,
        protocol,
        port,
        ..
    }: Row,
) -> Result<Round> {
    let to = scene::service(0, port);
    let cgroup = scene.node.scratch.cgroup();
    let cgroup = cgroup.to_string_lossy();
    let (connections, size) = (options.connections.to_string(), options.size.to_string());
    let (duration, warm_up) = (options.duration.to_string(), WARM_UP.to_string());
    let args = [
        ["--connections", &connections],
        ["--size", &size],
        ["--duration", &duration],
        ["--warm-up", &warm_up],
        ["--cpu-of", &cgroup],
    ]
    .concat();
    let (node, pins) = (&scene.node, scene.node.pins());
    let before = Figures::read(&pins)?;
    let client = load::ask(
        node,
        &scene.client,
        &node.tools.this,
        (protocol, &to),
        &args,
    )?;
    let load = load::report(client, Duration::from_millis(options.duration + SLACK))?;
    let hops = Figures::read(&pins)?.since(&before);
    if !accelerated && hops.0.iter().any(|hop| hop.messages > 0 || hop.joined > 0) {
        bail!("a plain measurement was not plain: {hops}");
    }
    Ok(Round {
        accelerated,
        row: name,
        load,
        hops,
    })
}

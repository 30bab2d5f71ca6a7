//! `sockway-e2e demo`: the main job, shown from beginning to end.

mod leftovers;
pub(crate) mod options;
mod progress;
mod results;
mod rounds;
mod scene;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use leftovers::Before;
use options::Options;
use progress::Progress;
use results::{Protocols, Results};
use scene::Scene;
use sockway_testkit::hops::Figures;
use sockway_testkit::mesh::tools::Tools;
use sockway_testkit::output::{self, Format};
use sockway_testkit::traffic::report::Report as Traffic;

/// How long the verified traffic of one family may take.
const TRAFFIC_LIMIT: Duration = Duration::from_mins(3);

/// Runs the demo.
pub(crate) fn run(options: &Options, format: Format) -> Result<()> {
    let started = Instant::now();
    let progress = Progress::new();
    let tools = Tools::find()?;
    let before = Before::take()?;
    let mut scene = Scene::new(&tools, &progress, options)?;
    let rounds = rounds::run(&mut scene, options, &progress)?;
    let protocols = Protocols::summarise(&rounds, options.mtls);
    let integrity = integrity(&mut scene, options, &progress)?;
    progress.step("sockway status");
    let status = scene.node.sockway(&["status"]).output()?;
    progress.quote(&status);
    let name = scene.node.scratch.name().to_owned();
    scene.leave(&progress)?;
    progress.step("looking for anything left behind");
    let leftovers = before.leftovers(&name)?;
    let results = Results {
        protocols,
        integrity,
        leftovers,
        seconds: started.elapsed().as_secs(),
    };
    output::print(&results, format)?;
    results.verdict()
}

/// Verified traffic with everything on, in both families.
fn integrity(scene: &mut Scene, options: &Options, progress: &Progress) -> Result<Vec<Traffic>> {
    let mut reports = Vec::new();
    let pins = scene.node.pins();
    let cases = [0, 1].into_iter().flat_map(|family| {
        let ports = scene::TRAFFIC.into_iter();
        ports.map(move |(port, secure)| (family, port, secure))
    });
    for (family, port, secure) in cases.filter(|(.., secure)| options.mtls.takes(*secure)) {
        let to = scene::service(family, port);
        progress.step(&format!(
            "verified traffic to {to}{}: {} connections",
            if secure { ", mutual TLS" } else { "" },
            options.integrity
        ));
        let count = options.integrity.to_string();
        let seed = (family + 1).to_string();
        let args = [
            "-o",
            "json",
            "traffic",
            "client",
            "--to",
            &to,
            "--connections",
            &count,
            "--seed",
            &seed,
        ];
        let before = Figures::read(&pins)?;
        let client = scene.client.spawn(&scene.node, "traffic", &args)?;
        let text = client.finish(TRAFFIC_LIMIT)?;
        let report: Traffic = serde_json::from_str(&text).context("parse the client's report")?;
        progress.note(&format!(
            "{} of {} verified in {:.1} s; {}",
            report.verified,
            report.connections,
            report.seconds,
            Figures::read(&pins)?.since(&before)
        ));
        reports.push(report);
    }
    for text in scene.server.end_apps(TRAFFIC_LIMIT)? {
        // Echo servers report nothing; the traffic server one line.
        if let Some(line) = text.lines().find(|line| line.starts_with('{')) {
            reports.push(serde_json::from_str(line).context("parse the server's report")?);
        }
    }
    if !reports.iter().any(|report| report.role == "server") {
        bail!("the traffic server gave no report");
    }
    Ok(reports)
}

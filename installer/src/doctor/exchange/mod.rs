//! The accelerated exchange of the proof: what has to hold on this kernel, tried
//! on it. Runs in the throw-away namespace and cgroup of [`super::scene`].

mod checks;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use sockway_common::config::typed;
use sockway_common::policy::fionread;
use sockway_datapath::{Datapath, InstallOptions, Pins, kernel, stats};

use self::checks::{Place, Seen, ok};
use super::proof::{Figures, Proof};
use super::{Finding, Verdict};
use crate::exit::chain;

/// What the throw-away maps are made for: few, so that they cost the node nothing.
const CONNECTIONS: u32 = 512;
/// Runs it all; a step that fails is the last one.
pub fn run(pins: &Pins, cgroup: &Path, backlog_limit: u32) -> Proof {
    let start = Instant::now();
    let mut proof = Proof::default();
    if let Err(step) = steps(pins, cgroup, backlog_limit, &mut proof) {
        proof.steps.push(step);
    }
    if let Ok(stats) = stats::read(pins) {
        proof.figures = Figures {
            parked_bytes: proof.figures.parked_bytes,
            ..Figures::of(&stats)
        };
    }
    proof.took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    proof
}

/// How, by what the kernel lets programs follow.
const fn how(level: u32) -> &'static str {
    match level {
        typed::NONE => "by a helper",
        typed::OWN => "by plain loads where they are the sender's own, else by a helper",
        _ => "by plain loads",
    }
}

fn steps(pins: &Pins, cgroup: &Path, backlog_limit: u32, proof: &mut Proof) -> Result<(), Finding> {
    let mut options = InstallOptions::new(pins.clone(), cgroup.to_owned());
    options.backlog_limit = backlog_limit;
    options.max_connections = CONNECTIONS;
    let report = Datapath::install(&options)
        .context("the programs cannot be put in place")
        .map_err(|e| failed("load", &e))?;
    proof.offsets = kernel::table(&report.offsets);
    proof.functions = report.functions.table();
    proof.limits = report.limits.iter().map(ToString::to_string).collect();
    proof.reads_seen = report.hooks.reads;
    proof.ends_seen = report.hooks.ends;
    proof.guarded = report.hooks.guards;
    proof.fionread_right = Some(report.fionread == fionread::RIGHT);
    let place = Place {
        pins,
        report: &report,
        backlog_limit,
    };
    let mut note = |name, seen: Result<Seen>| {
        let (verdict, found) = seen.map_err(|e| failed(name, &e))?;
        proof.steps.push(Finding::new(name, verdict, found));
        Ok(())
    };
    let text = format!(
        "every program verified and attached; kernel fields are read {}",
        how(report.typed)
    );
    note("load", Ok(ok(text)))?;
    let listener = place.prepare().map_err(|e| failed("join", &e))?;
    note("join", place.join(&listener))?;
    let mut wire = checks::open(&listener).map_err(|e| failed("redirect", &e))?;
    note("redirect", place.redirect(&mut wire))?;
    let parked = place.stuff(&mut wire);
    let bytes = *parked.as_ref().unwrap_or(&0);
    note("back-pressure", parked.map(checks::stopped))?;
    note("order", checks::read_all(&mut wire, bytes))?;
    note("drain", place.drain(&mut wire))?;
    note("half-close", checks::half_close(wire))?;
    note("applications", place.applications())?;
    note("close", place.close(&listener))?;
    proof.figures.parked_bytes = bytes;
    Ok(())
}

/// A failed step, with what is at risk where one goes on nevertheless.
fn failed(name: &str, error: &anyhow::Error) -> Finding {
    let risk = match name {
        "back-pressure" => {
            "a sender whose peer does not read could take kernel memory without bound"
        }
        "order" => "applications could read bytes in another order than they were sent",
        "drain" => "the kernel's fields are not what Sockway takes them for: order is not safe",
        "half-close" => "connections that are half closed could lose their last bytes",
        "applications" => "applications that block or ask for what waits could be told wrong",
        "close" => "rows of closed connections would fill the maps",
        _ => "nothing, or not all that should be, would be accelerated",
    };
    Finding::new(name, Verdict::Failed, chain(error)).note(risk)
}

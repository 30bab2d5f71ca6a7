//! A short check for CI: is it still faster, warm, cold and as a stream, and how large are the
//! programs?

use anyhow::{Context, Result, bail};
use clap::Args;
use sockway_datapath::{Datapath, InstallOptions};
use sockway_testkit::hops::Figures;
use sockway_testkit::mesh::cpu;
use sockway_testkit::mesh::node::Node;
use sockway_testkit::mesh::tools::Tools;
use sockway_testkit::stop;

use crate::case::{Case, Tool};
use crate::fresh::Fresh;
use crate::hop::Hop;
use crate::mode::Mode;
use crate::results::{Sample, Spread};
use crate::scene::objects;
use crate::topic::Topic;
use crate::{rounds, sizes, work};

/// `guard`. Floors are of CPU time for each in plain by that in accelerated.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Below which the ping-pong of one hop fails
    #[arg(long, default_value_t = 1.15)]
    floor: f64,
    /// Below which a cold start through both Envoys fails
    #[arg(long, default_value_t = 1.10)]
    cold_floor: f64,
    /// Below which a stream through both Envoys fails
    #[arg(long, default_value_t = 1.10)]
    stream_floor: f64,
    /// Pairs of measurements of one hop
    #[arg(long, default_value_t = 9)]
    rounds: u32,
    /// Pairs of measurements through both Envoys, each between pods never seen before
    #[arg(long, default_value_t = 3)]
    fresh_rounds: u32,
    /// Milliseconds of each measurement of one hop
    #[arg(long, default_value_t = 300)]
    millis: u64,
    /// Milliseconds of each measurement through both Envoys
    #[arg(long, default_value_t = 2500)]
    fresh_millis: u64,
}

/// A ping-pong on one CPU.
const HOP: Case = Case::new(Topic::Hop, Tool::Pair, 1, 1024);
/// A pool whose connections are all opened at once.
const COLD: Case = Case::new(Topic::Cold, Tool::PoolTcp, 16, 1024);
/// One stream.
const STREAM: Case = Case::new(Topic::Bulk, Tool::Bulk, 1, 256 << 10);
/// Worker threads of each Envoy.
const CONCURRENCY: u32 = 2;

/// Measures plain and accelerated in turn; an error where a median ratio is under its floor.
pub(crate) fn run(options: &Options) -> Result<()> {
    let tools = Tools::find()?;
    println(&format!("{}\n", sizes::table(&objects(&tools)?)?))?;
    let checks = [
        (
            "ping-pong of 1 KiB on one CPU",
            options.floor,
            hop(options, &tools)?,
        ),
        (
            "16 connections through both Envoys, opened at once, cold",
            options.cold_floor,
            through(options, &COLD)?,
        ),
        (
            "one stream through both Envoys",
            options.stream_floor,
            through(options, &STREAM)?,
        ),
    ];
    let mut slow = Vec::new();
    for (what, floor, ratios) in checks {
        let rounds = ratios.len();
        let Spread {
            median,
            least,
            most,
        } = Spread::of(ratios);
        println(&format!(
            "{what}, plain by accelerated CPU time: {median:.2}x ({least:.2} to {most:.2} in {rounds} rounds), floor {floor:.2}x\n"
        ))?;
        if median < floor {
            slow.push(format!("{what}: {median:.2} is below the floor {floor:.2}"));
        }
    }
    // The programs' sizes are one.
    println(&format!(
        "{} passed, {} failed\n",
        4 - slow.len(),
        slow.len()
    ))?;
    if slow.is_empty() {
        Ok(())
    } else {
        bail!("{}", slow.join("; "))
    }
}

/// CPU time rather than rate: what else runs on the machine hardly changes it.
fn hop(options: &Options, tools: &Tools) -> Result<Vec<f64>> {
    let node = Node::new(tools)?;
    node.install()?;
    let hop = Hop::new(&node)?;
    let (pins, cgroup) = (node.pins(), node.scratch.cgroup());
    let measure = || -> Result<f64> {
        let before = cpu::usage(&cgroup)?;
        let measured = work::hop::pair((&node, &hop), "pair", "tcp", &HOP, options.millis)?;
        let used = cpu::usage(&cgroup)?.saturating_sub(before);
        Ok(rounds::per_request(used, measured.count))
    };
    let mut ratios = Vec::new();
    for _ in 0..options.rounds {
        Datapath::detach(&pins).context("detach")?;
        let plain = measure()?;
        Datapath::install(&InstallOptions::new(pins.clone(), cgroup.clone())).context("install")?;
        let before = Figures::read(&pins)?;
        let accelerated = measure()?;
        let hops = Figures::read(&pins)?.since(&before);
        if hops.0.iter().all(|hop| hop.messages == 0) {
            bail!("nothing was redirected");
        }
        ratios.push(plain / accelerated);
    }
    Ok(ratios)
}

/// Through both Envoys, each time on a node of its own with the keeper as in production.
fn through(options: &Options, case: &Case) -> Result<Vec<f64>> {
    let measure = |mode: Mode| -> Result<Sample> {
        stop::check()?;
        let fresh = Fresh::new(mode, CONCURRENCY, None)?;
        let sample = fresh.measure(case, mode, 0, options.fresh_millis);
        let sample = sample.with_context(|| format!("{}, {}", case.name(), mode.name()))?;
        if sample.measured.faults > 0 {
            bail!("{} faults in {}", sample.measured.faults, case.name());
        }
        Ok(sample)
    };
    let pair = |_| {
        let (plain, auto) = (measure(Mode::Plain)?, measure(Mode::Auto)?);
        let left = plain.wire.iter().zip(&auto.wire);
        let left = left.map(|(plain, auto)| format!("{:.0} %", 100.0 * auto / plain.max(1.0)));
        println(&format!(
            "    {}: {:.0} and {:.0} us; left to the interfaces of the three hops: {}\n",
            case.name(),
            plain.cpu_us,
            auto.cpu_us,
            left.collect::<Vec<_>>().join(", ")
        ))?;
        Ok(plain.cpu_us / auto.cpu_us)
    };
    (0..options.fresh_rounds).map(pair).collect()
}

fn println(text: &str) -> Result<()> {
    use std::io::Write as _;
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")
}

//! A short check for CI: is it still faster, and how large are the programs?

use anyhow::{Context, Result, bail};
use clap::Args;
use sockway_datapath::{Datapath, InstallOptions};
use sockway_e2e::bed::cpu;
use sockway_e2e::bed::node::Node;
use sockway_e2e::bed::tools::Tools;
use sockway_e2e::hops::Figures;

use crate::case::{Case, Tool};
use crate::hop::Hop;
use crate::jobs::Topic;
use crate::results::Spread;
use crate::scene::objects;
use crate::{rounds, sizes, work};

/// `guard`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// CPU time of a plain round trip by that of an accelerated one, below which it fails
    #[arg(long, default_value_t = 1.15)]
    floor: f64,
    /// Pairs of measurements
    #[arg(long, default_value_t = 9)]
    rounds: u32,
    /// Milliseconds of each measurement
    #[arg(long, default_value_t = 300)]
    millis: u64,
}

/// The case: a ping-pong of 1 KiB on one CPU.
const CASE: Case = Case {
    topic: Topic::Hop,
    tool: Tool::Pair,
    connections: 1,
    payload: 1024,
    limit: 0,
    idle: 0,
    pods: 0,
};

/// Measures plain and accelerated in turn; an error where the median ratio is under the floor.
pub(crate) fn run(options: &Options) -> Result<()> {
    let Options {
        floor,
        rounds: pairs,
        millis,
    } = *options;
    let tools = Tools::find()?;
    let sizes = sizes::table(&objects(&tools)?)?;
    let node = Node::new(&tools)?;
    node.install()?;
    let hop = Hop::new(&node)?;
    let (pins, cgroup) = (node.pins(), node.scratch.cgroup());
    // CPU time rather than rate: what else runs on the machine hardly changes it.
    let measure = || -> Result<f64> {
        let before = cpu::usage(&cgroup)?;
        let measured = work::hop::pair((&node, &hop), "pair", "tcp", &CASE, millis)?;
        let used = cpu::usage(&cgroup)?.saturating_sub(before);
        Ok(rounds::per_request(used, measured.count))
    };
    let mut ratios = Vec::new();
    for _ in 0..pairs {
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
    let Spread {
        median,
        least,
        most,
    } = Spread::of(ratios);
    println(&format!(
        "{sizes}\nping-pong of 1 KiB on one CPU, plain by accelerated CPU time: {median:.2}x ({least:.2} to {most:.2} in {pairs} rounds), floor {floor:.2}x\n"
    ))?;
    if median < floor {
        bail!("the ratio {median:.2} is below the floor {floor:.2}");
    }
    println("2 passed, 0 failed\n")
}

fn println(text: &str) -> Result<()> {
    use std::io::Write as _;
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")
}

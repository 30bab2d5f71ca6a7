//! `sockway-e2e test`: end-to-end cases on real pods.

/// A table of cases: `"topic/what_holds": function;`.
macro_rules! cases {
    ($($name:literal: $run:expr;)+) => {
        vec![$($crate::suite::Case { name: $name, run: $run }),+]
    };
}

mod check;
mod counters;
mod existing;
mod faults;
mod http;
mod integrity;
mod late;
pub(crate) mod lifecycle;
mod live;
mod memory;
mod off;
pub(crate) mod options;
mod refusals;
mod registration;
mod rollout;
mod scopes;
mod secure;
mod soaked;
mod tripwire;

use std::cell::OnceCell;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sockway_testkit::mesh::tools::Tools;
use sockway_testkit::stop;

use crate::world::World;
use options::Options;

/// A case: what must hold, and the function that finds out.
pub(crate) struct Case {
    /// `topic/what_holds`.
    pub(crate) name: &'static str,
    /// An error says what did not hold.
    pub(crate) run: fn(&Stage) -> Result<()>,
}

/// What cases share: the pods are made once, when the first case needs them.
pub(crate) struct Stage {
    /// Programs from outside.
    pub(crate) tools: Tools,
    world: OnceCell<World>,
}

impl Stage {
    /// Four pods on a node with Sockway.
    pub(crate) fn world(&self) -> Result<&World> {
        if let Some(world) = self.world.get() {
            return Ok(world);
        }
        let world = World::new(&self.tools).context("make the pods")?;
        Ok(self.world.get_or_init(|| world))
    }
}

/// Every case, in the order in which they run.
fn all() -> Vec<Case> {
    let topics = [
        refusals::cases(),
        lifecycle::cases(),
        registration::cases(),
        integrity::cases(),
        counters::cases(),
        http::cases(),
        secure::cases(),
        live::cases(),
        late::cases(),
        off::cases(),
        tripwire::cases(),
        existing::cases(),
        faults::cases(),
        memory::cases(),
        scopes::cases(),
        rollout::cases(),
        soaked::cases(),
    ];
    topics.into_iter().flatten().collect()
}

/// Runs the cases whose name contains the filter.
pub(crate) fn run(options: &Options) -> Result<()> {
    let Options { filters, list } = options;
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|part| name.contains(part));
    let cases: Vec<_> = all().into_iter().filter(|case| wanted(case.name)).collect();
    if *list {
        for case in &cases {
            println!("{}", case.name);
        }
        return Ok(());
    }
    if cases.is_empty() {
        bail!("no case's name contains any of {filters:?}; --list shows all");
    }
    let stage = Stage {
        tools: Tools::find()?,
        world: OnceCell::new(),
    };
    let mut failed = Vec::new();
    for Case { name, run } in &cases {
        let started = Instant::now();
        let result = run(&stage);
        let seconds = started.elapsed().as_secs_f64();
        // An interrupted case says nothing about what it checks.
        stop::check()?;
        match result {
            Ok(()) => println!("ok      {name:<52}{seconds:>7.2} s"),
            Err(error) => {
                println!("FAILED  {name:<52}{seconds:>7.2} s\n        {error:#}");
                failed.push(*name);
            }
        }
    }
    drop(stage);
    for name in &failed {
        println!("failed: {name}");
    }
    println!(
        "{} passed, {} failed",
        cases.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("{} cases failed", failed.len())
    }
}

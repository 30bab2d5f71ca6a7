//! A node of its own for one measurement: programs, maps, pods, addresses and listeners that
//! nothing was ever seen of, and the keeper as in production.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use sockway_datapath::{Datapath, InstallOptions};
use sockway_testkit::hops::Figures;
use sockway_testkit::mesh::keeper::Keeper;
use sockway_testkit::mesh::node::Node;
use sockway_testkit::mesh::tools::Tools;
use sockway_testkit::stop;

use crate::case::Case;
use crate::jobs::Job;
use crate::mode::Mode;
use crate::progress::Progress;
use crate::results::Sample;
use crate::scene::{self, objects};
use crate::stage::{self, Stage};
use crate::{rounds, work};

/// The node with its pods.
pub(crate) struct Fresh {
    _keeper: Option<Keeper>,
    stage: Stage,
}

impl Fresh {
    /// Makes it; without fortio the servers are our own.
    pub(crate) fn new(mode: Mode, concurrency: u32, fortio: Option<PathBuf>) -> Result<Self> {
        let tools = Tools::find()?;
        let node = Node::new(&tools)?;
        let scope = ["--scope", mode.word()];
        let keeper = match mode {
            Mode::Plain => None,
            Mode::Blind => {
                // The pods get the scope from the conflist, the programs are the yardstick's.
                node.sockway(&[&["install"], scope.as_slice()].concat())
                    .done()?;
                let mut options = InstallOptions::new(node.pins(), node.scratch.cgroup());
                let object = objects(&tools)?.join("sockway-bench.o");
                options.object = Some((scene::read(&object)?, 1));
                Datapath::install(&options).context("install the yardstick")?;
                None
            }
            Mode::Auto | Mode::All | Mode::Proxy => Some(Keeper::start(&node, &scope)?),
            _ => bail!("{} is not measured on a fresh node", mode.name()),
        };
        Ok(Self {
            _keeper: keeper,
            stage: Stage::new(node, concurrency, fortio)?,
        })
    }

    /// Measures a case; an error where nothing was redirected in a mode that redirects.
    pub(crate) fn measure(
        &self,
        case: &Case,
        mode: Mode,
        round: u32,
        millis: u64,
    ) -> Result<Sample> {
        let pins = self.stage.node.pins();
        let mut begun = rounds::Begun::new(&self.stage)?;
        if mode != Mode::Plain {
            begun.figures = Some(Figures::read(&pins)?);
        }
        let measured = work::through(&self.stage, case, millis)?;
        begun.sample(&self.stage, case, mode, round, measured, &pins)
    }
}

/// Measures every job in each of its modes on a node of its own, `rounds` times; the order of
/// modes changes from round to round.
pub(crate) fn run(
    jobs: &[Job],
    (rounds, millis): (u32, u64),
    concurrency: u32,
    progress: &mut Progress,
    samples: &mut Vec<Sample>,
) -> Result<()> {
    for round in 0..rounds {
        for job in jobs {
            let mut modes = job.modes.clone();
            let count = modes.len().max(1);
            modes.rotate_left(round as usize % count);
            for mode in modes {
                stop::check()?;
                let sample = one(&job.case, mode, round, millis, concurrency)
                    .with_context(|| format!("{}, {}", job.case.name(), mode.name()))?;
                progress.done(&rounds::line(&sample, rounds));
                samples.push(sample);
            }
        }
    }
    Ok(())
}

/// One measurement, from before its node is there until the node is gone.
fn one(case: &Case, mode: Mode, round: u32, millis: u64, concurrency: u32) -> Result<Sample> {
    Fresh::new(mode, concurrency, Some(stage::fortio()?))?.measure(case, mode, round, millis)
}

//! One exchange after the other: plain, then accelerated, and whether anything differs.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use sockway_testkit::mesh::keeper::Keeper;
use sockway_testkit::mesh::sidecar::{INBOUND, OUTBOUND};
use sockway_testkit::mesh::tools::Tools;

use super::facts::Facts;
use super::fionread;
use super::flags::{Sockets, Watch};
use super::meter::{HOPS, Phase};
use super::options::Options;
use super::program::Program;
use super::route::Route;
use super::site::{Files, Site};
use super::table::{Row, Share};
use super::tools::Programs;
use super::transfer::PATIENCE;
use crate::world::World;

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

/// Pods, programs and files.
pub(super) struct Stage {
    pub(super) world: World,
    /// Whether the kernel answers FIONREAD of a socket in a sockhash as of any other.
    pub(super) fionread_is_right: bool,
    programs: Programs,
    files: Files,
    keeper: bool,
    bars: bool,
}

/// What an exchange came to.
pub(super) struct Outcome {
    facts: Facts,
    phases: Vec<Phase>,
    whole: Phase,
    sockets: Sockets,
}

impl Stage {
    /// Makes pods and files.
    pub(super) fn new(tools: &Tools, options: &Options) -> Result<Self> {
        let world = World::new(tools).context("make the pods")?;
        let scratch = &world.node.scratch;
        let fionread = world.client.place().within(fionread::is_right);
        Ok(Self {
            programs: Programs::find(tools, &scratch.path("scripts"))?,
            files: Files::make(&scratch.path("files"), u64::from(options.download) * MIB)?,
            fionread_is_right: fionread.context("ask FIONREAD of a socket in a sockhash")?,
            keeper: !options.no_keeper,
            bars: !options.no_bars,
            world,
        })
    }

    /// The port that a program's server listens at, the same plain and accelerated.
    pub(super) fn port(&self, program: &Program) -> Result<u16> {
        match program.route {
            Route::Mesh => self.world.port(program.protocol),
            Route::Inbound => Ok(INBOUND),
            Route::Outbound => Ok(OUTBOUND),
            Route::App => self.world.plain_port(),
        }
    }

    /// `sockway run`, where it is wanted, until it is dropped.
    pub(super) fn keeper(&self) -> Result<Option<Keeper>> {
        let start = || Keeper::start(&self.world.node, &[]);
        self.keeper.then(start).transpose()
    }

    /// Server and client once, in a directory of their own.
    pub(super) fn exchange(&self, program: &Program, port: u16, mode: &str) -> Result<Outcome> {
        let name = program.name.replace(['/', ' '], "-");
        let dir = self.world.node.scratch.path(&format!("{name}-{mode}"));
        fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        let site = Site {
            world: &self.world,
            programs: &self.programs,
            files: &self.files,
            dir,
            port,
            family: program.family,
            route: program.route,
            phases: RefCell::default(),
        };
        let pods = [site.client_pod(), site.server_pod()];
        let cgroups: HashSet<_> = pods
            .iter()
            .filter_map(|p| p.place().cgroup.clone())
            .collect();
        let envoys = pods.iter().filter_map(|pod| pod.envoy_id()).collect();
        let servers = (program.start)(&site).context("start the server")?;
        let watch = Watch::start(cgroups.into_iter().collect(), envoys, port);
        let whole = Phase::of("all", &self.world, program.route, || {
            (program.exchange)(&site)
        });
        let sockets = watch.end()?;
        drop(servers);
        fs::remove_dir_all(&site.dir).context("remove the exchange's directory")?;
        let (whole, facts) = whole?;
        let phases = site.phases.into_inner();
        Ok(Outcome {
            facts,
            phases,
            whole,
            sockets,
        })
    }

    /// The accelerated exchange beside the plain one.
    pub(super) fn compare(&self, program: &Program, port: u16, plain: Result<Outcome>) -> Row {
        let mut row = Row::new(program);
        let judged = || -> Result<()> {
            let plain = plain.context("plain")?;
            row.plain = plain.facts.digest();
            row.facts = plain.facts.count();
            self.world.quiet()?;
            let before = self.world.figures()?;
            let accelerated = self.exchange(program, port, "accelerated");
            // Sums are complete when connections have ended.
            let quiet = self.world.quiet();
            let hops = self.world.figures()?.since(&before);
            row.redirected = HOPS.map(|kind| hops.get(kind).map_or(0, |hop| hop.bytes));
            let accelerated = accelerated.context("accelerated")?;
            row.accelerated = accelerated.facts.digest();
            row.shares = shares(&plain, &accelerated);
            let differences = plain.facts.differences(&accelerated.facts);
            ensure!(differences.is_empty(), "{differences}");
            quiet?;
            in_time(&plain, &accelerated)?;
            plain.sockets.agree(program.ends).context("plain")?;
            accelerated.sockets.agree(program.ends)?;
            row.counted_right()?;
            if self.bars {
                row.reach_the_bar(self.fionread_is_right)?;
            }
            Ok(())
        };
        if let Err(error) = { judged }() {
            row.fault = Some(format!("{error:#}"));
        }
        row
    }
}

fn shares(plain: &Outcome, accelerated: &Outcome) -> Vec<Share> {
    let with = |outcome: &Outcome| {
        let whole = [outcome.whole.clone()];
        outcome
            .phases
            .iter()
            .cloned()
            .chain(whole)
            .collect::<Vec<_>>()
    };
    with(plain)
        .into_iter()
        .zip(with(accelerated))
        .map(|(plain, accelerated)| Share {
            phase: plain.name,
            plain: plain.seen,
            accelerated: accelerated.seen,
        })
        .collect()
}

/// Nothing stood still: no phase took much longer than plain.
fn in_time(plain: &Outcome, accelerated: &Outcome) -> Result<()> {
    for (plain, accelerated) in plain.phases.iter().zip(&accelerated.phases) {
        let limit = plain.took * 2 + PATIENCE;
        ensure!(
            accelerated.took <= limit,
            "{} took {:.1} s, plain {:.1} s: something stood still",
            plain.name,
            accelerated.took.as_secs_f64(),
            plain.took.as_secs_f64()
        );
    }
    Ok(())
}

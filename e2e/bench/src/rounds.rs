//! All measurements, mode by mode and round by round.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use sockway_datapath::Pins;
use sockway_testkit::hops::{Figures, Hops};
use sockway_testkit::mesh::cpu;
use sockway_testkit::stop;

use crate::case::{Case, Tool};
use crate::crowd::Crowd;
use crate::full::Full;
use crate::jobs::Job;
use crate::mode::Mode;
use crate::progress::Progress;
use crate::results::{Measured, Sample};
use crate::scene::Scene;
use crate::stage::Stage;
use crate::wire::{self, Bytes, HOPS};
use crate::work;

/// Measures everything into `samples`, which has what was measured also after an
/// error; the order of modes changes from round to round.
pub(crate) fn run(
    scene: &mut Scene,
    jobs: &[Job],
    (rounds, millis): (u32, u64),
    progress: &mut Progress,
    samples: &mut Vec<Sample>,
) -> Result<()> {
    let modes: Vec<Mode> = Mode::EVERY
        .into_iter()
        .filter(|mode| jobs.iter().any(|job| job.modes.contains(mode)))
        .collect();
    for round in 0..rounds {
        let mut order = modes.clone();
        order.rotate_left(round as usize % modes.len().max(1));
        if round % 2 == 1 {
            order.reverse();
        }
        for mode in order {
            scene
                .switch(mode)
                .with_context(|| format!("switch to {}", mode.name()))?;
            let mut crowd: Option<Crowd<'_>> = None;
            for job in jobs.iter().filter(|job| job.modes.contains(&mode)) {
                stop::check()?;
                if !crowd.as_ref().is_some_and(|crowd| crowd.suits(&job.case)) {
                    // The old one goes first.
                    drop(crowd.take());
                    crowd = Some(Crowd::new(&scene.stage.node, &scene.hop, &job.case)?);
                }
                let sample = one(scene, &job.case, mode, round, millis)
                    .with_context(|| format!("{}, {}", job.case.name(), mode.name()));
                let sample = match sample {
                    // A yardstick without rules may well break a connection.
                    Err(error) if matches!(mode, Mode::Tuple | Mode::Blind) => {
                        progress.step(&format!("{error:#}"));
                        failed(&job.case, mode, round)
                    }
                    sample => sample?,
                };
                progress.done(&line(&sample, rounds));
                samples.push(sample);
            }
        }
    }
    Ok(())
}

/// Runs before a first measurement, at most, until every application in it is known, and
/// their length in milliseconds.
const LESSONS: u32 = 2;
const LESSON: u64 = 100;

/// A measurement that came to no figures.
fn failed(case: &Case, mode: Mode, round: u32) -> Sample {
    Sample {
        case: case.clone(),
        mode,
        round,
        measured: Measured {
            faults: 1,
            ..Measured::default()
        },
        cpu_us: 0.0,
        hops: Hops::default(),
        wire: [0.0; HOPS.len()],
    }
}

/// What was counted when a measurement began.
pub(crate) struct Begun {
    cpu: Duration,
    wire: Bytes,
    /// What the datapath counted, where there is one.
    pub(crate) figures: Option<Figures>,
}

impl Begun {
    /// Now, without the datapath's figures.
    pub(crate) fn new(stage: &Stage) -> Result<Self> {
        Ok(Self {
            cpu: cpu::usage(&stage.node.scratch.cgroup())?,
            wire: wire::read(stage)?,
            figures: None,
        })
    }

    /// What there is more now.
    pub(crate) fn sample(
        self,
        stage: &Stage,
        case: &Case,
        mode: Mode,
        round: u32,
        measured: Measured,
        pins: &Pins,
    ) -> Result<Sample> {
        let cpu = cpu::usage(&stage.node.scratch.cgroup())?.saturating_sub(self.cpu);
        let now = wire::read(stage)?;
        let since = || -> Result<Hops> {
            let figures = self.figures.as_ref();
            figures.map_or_else(
                || Ok(Hops::default()),
                |then| Ok(Figures::read(pins)?.since(then)),
            )
        };
        let mut hops = since()?;
        let any = |hops: &Hops| hops.0.iter().any(|hop| hop.messages > 0);
        let expected = mode.redirects() && !case.tool.leaves();
        if !any(&hops) && expected {
            // A socket adds its messages when they are many, or when it closes.
            stage.quiet()?;
            hops = since()?;
        }
        // Messages of connections from before may be added late, new pairs are not.
        let joined = hops.0.iter().any(|hop| hop.joined > 0);
        if joined && (!mode.redirects() || case.tool.leaves()) {
            bail!("joined, and should not have been: {hops}");
        }
        // One that is held may be all there is on a kernel.
        if !any(&hops) && expected && case.tool != Tool::Held {
            bail!("nothing was redirected");
        }
        let each = |hop: usize| per(now[hop].saturating_sub(self.wire[hop]), measured.count);
        Ok(Sample {
            case: case.clone(),
            mode,
            round,
            cpu_us: per_request(cpu, measured.count),
            wire: if case.tool.meshed() {
                std::array::from_fn(each)
            } else {
                [0.0; HOPS.len()]
            },
            measured,
            hops,
        })
    }
}

fn one(scene: &Scene, case: &Case, mode: Mode, round: u32, millis: u64) -> Result<Sample> {
    let pins = scene.pins();
    let refused = || scene.full.as_ref().map(Full::refused).transpose();
    if mode.redirects() && round == 0 {
        // Applications that nobody knows yet are measured once they are known.
        for _ in 0..LESSONS {
            if !scene.learns(|| work::measure(scene, case, LESSON).map(drop))? {
                break;
            }
        }
    }
    let refused_then = refused()?;
    let mut begun = Begun::new(&scene.stage)?;
    begun.figures = Some(Figures::read(&pins)?);
    let measured = if mode == Mode::Unix {
        work::unix(scene, case, millis)?
    } else {
        work::measure(scene, case, millis)?
    };
    let sample = begun.sample(&scene.stage, case, mode, round, measured, &pins)?;
    if mode == Mode::Full && refused()? == refused_then {
        bail!("no connection found the maps full: {}", sample.hops);
    }
    Ok(sample)
}

fn per(bytes: u64, count: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of one run are far below 2^52"
    )]
    let each = bytes as f64 / count.max(1) as f64;
    each
}

/// Microseconds of CPU time for each of so many.
pub(crate) fn per_request(cpu: Duration, count: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of one run are far below 2^52"
    )]
    let count = count.max(1) as f64;
    cpu.as_secs_f64() * 1e6 / count
}

pub(crate) fn line(sample: &Sample, rounds: u32) -> String {
    format!(
        "round {}/{rounds} {:<8} {}: {:.0} {}",
        sample.round + 1,
        sample.mode.name(),
        sample.case.name(),
        sample.measured.rate,
        sample.case.tool.unit()
    )
}

//! All measurements, mode by mode and round by round.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use sockway_e2e::bed::cpu;
use sockway_e2e::hops::{Figures, Hops};
use sockway_e2e::stop;

use crate::case::Case;
use crate::crowd::Crowd;
use crate::full::Full;
use crate::jobs::Job;
use crate::mode::Mode;
use crate::progress::Progress;
use crate::results::{Measured, Sample};
use crate::scene::Scene;
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
    let measurements: usize = jobs.iter().map(|job| job.modes.len()).sum();
    progress.expect(rounds * u32::try_from(measurements).context("too many measurements")?);
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
                    crowd = Some(Crowd::new(&scene.node, &scene.hop, &job.case)?);
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
const LESSONS: u32 = 4;
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
    }
}

fn one(scene: &Scene, case: &Case, mode: Mode, round: u32, millis: u64) -> Result<Sample> {
    let pins = scene.pins();
    let cgroup = scene.node.scratch.cgroup();
    let refused = || scene.full.as_ref().map(Full::refused).transpose();
    let expected = matches!(
        mode,
        Mode::Auto | Mode::All | Mode::Proxy | Mode::Blind | Mode::Other
    );
    if expected && round == 0 {
        // Applications that nobody knows yet are measured once they are known.
        for _ in 0..LESSONS {
            if !scene.learns(|| work::measure(scene, case, LESSON).map(drop))? {
                break;
            }
        }
    }
    let refused_then = refused()?;
    let (cpu_then, figures_then) = (cpu::usage(&cgroup)?, Figures::read(&pins)?);
    let measured = if mode == Mode::Unix {
        work::unix(scene, case, millis)?
    } else {
        work::measure(scene, case, millis)?
    };
    let cpu = cpu::usage(&cgroup)?.saturating_sub(cpu_then);
    let away = case.tool.leaves();
    let since = || anyhow::Ok(Figures::read(&pins)?.since(&figures_then));
    let mut hops = since()?;
    let any = |hops: &Hops| hops.0.iter().any(|hop| hop.messages > 0);
    if !any(&hops) && expected && !away {
        // A socket adds its messages when they are many, or when it closes.
        scene.quiet()?;
        hops = since()?;
    }
    let redirected = any(&hops);
    // Messages of connections from before may be added late, new pairs are not.
    let joined = hops.0.iter().any(|hop| hop.joined > 0);
    if joined && (!expected || away) {
        bail!("joined, and should not have been: {hops}");
    }
    if !redirected && expected && !away {
        bail!("nothing was redirected");
    }
    if mode == Mode::Full && refused()? == refused_then {
        bail!("no connection found the maps full: {hops}");
    }
    Ok(Sample {
        case: case.clone(),
        mode,
        round,
        cpu_us: per_request(cpu, measured.count),
        measured,
        hops,
    })
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

fn line(sample: &Sample, rounds: u32) -> String {
    format!(
        "round {}/{rounds} {:<8} {}: {:.0} {}",
        sample.round + 1,
        sample.mode.name(),
        sample.case.name(),
        sample.measured.rate,
        sample.case.tool.unit()
    )
}

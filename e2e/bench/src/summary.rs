//! What was measured, summed up.

use serde::Serialize;
use sockway_testkit::median::median;

use crate::case::Case;
use crate::mode::Mode;
use crate::results::{Sample, Spread};
use crate::share::{late, share};
use crate::wire::HOPS;

/// All rounds of one case in one mode.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// What was measured.
    pub(crate) case: Case,
    /// How connections were made.
    pub(crate) mode: Mode,
    /// Rounds.
    pub(crate) rounds: usize,
    /// Per second.
    pub(crate) rate: Spread,
    /// Average time, microseconds.
    pub(crate) mean_us: Spread,
    /// Median time, microseconds.
    pub(crate) p50_us: Spread,
    /// 99th percentile, microseconds.
    pub(crate) p99_us: Spread,
    /// CPU time for each, microseconds.
    pub(crate) cpu_us: Spread,
    /// `rate` by that of plain TCP in the same round.
    pub(crate) rate_ratio: Option<Spread>,
    /// `mean_us` by that of plain TCP in the same round.
    pub(crate) mean_ratio: Option<Spread>,
    /// `cpu_us` by that of plain TCP in the same round.
    pub(crate) cpu_ratio: Option<Spread>,
    /// Median of each point of the distribution.
    pub(crate) latency: Vec<(f64, f64)>,
    /// Requests that failed, of all rounds.
    pub(crate) faults: u64,
    /// Of the bytes that plain TCP has on each hop for a request, the share that is not there.
    pub(crate) share: Option<[f64; HOPS.len()]>,
    /// The same of bytes sent and of bytes received on one connection, by what TCP says.
    pub(crate) carried: Option<[f64; 2]>,
    /// The same from the third second on, where it was watched.
    pub(crate) late_share: Option<[f64; HOPS.len()]>,
}

/// A figure by that of others in the same round; `None` where no round has both.
pub(crate) fn ratio(
    mine: &[&Sample],
    others: &[&Sample],
    figure: fn(&Sample) -> f64,
) -> Option<Spread> {
    let ratios: Vec<f64> = mine
        .iter()
        .filter_map(|sample| {
            let other = others.iter().find(|other| other.round == sample.round)?;
            let (mine, other) = (figure(sample), figure(other));
            (mine > 0.0 && other > 0.0).then_some(mine / other)
        })
        .collect();
    (!ratios.is_empty()).then(|| Spread::of(ratios))
}

/// Everything by case and mode, in the order in which cases first came.
pub(crate) fn summarise(samples: &[Sample]) -> Vec<Summary> {
    let mut cases: Vec<&Case> = Vec::new();
    for sample in samples {
        if !cases.contains(&&sample.case) {
            cases.push(&sample.case);
        }
    }
    let pairs = cases
        .into_iter()
        .flat_map(|case| Mode::EVERY.into_iter().map(move |mode| (case, mode)));
    pairs
        .filter_map(|(case, mode)| summary(samples, case, mode))
        .collect()
}

fn summary(samples: &[Sample], case: &Case, mode: Mode) -> Option<Summary> {
    let of = |mode: Mode| {
        samples
            .iter()
            .filter(move |sample| sample.case == *case && sample.mode == mode)
    };
    let mine: Vec<&Sample> = of(mode).collect();
    let first = *mine.first()?;
    let good = || mine.iter().filter(|sample| sample.measured.count > 0);
    let spread = |figure: fn(&Sample) -> f64| Spread::of(good().map(|s| figure(s)).collect());
    let plain: Vec<&Sample> = of(Mode::Plain).collect();
    let ratio = |figure: fn(&Sample) -> f64| ratio(&mine, &plain, figure);
    let point = |index: usize| {
        let at = good().filter_map(|s| s.measured.latency.get(index));
        median(at.map(|(_, us)| *us).collect())
    };
    let latency = first.measured.latency.iter().enumerate();
    Some(Summary {
        case: case.clone(),
        mode,
        rounds: mine.len(),
        rate: spread(|s| s.measured.rate),
        mean_us: spread(|s| s.measured.mean_us),
        p50_us: spread(|s| s.measured.p50_us),
        p99_us: spread(|s| s.measured.p99_us),
        cpu_us: spread(|s| s.cpu_us),
        rate_ratio: ratio(|s| s.measured.rate),
        mean_ratio: ratio(|s| s.measured.mean_us),
        cpu_ratio: ratio(|s| s.cpu_us),
        latency: latency
            .map(|(i, (percent, _))| (*percent, point(i)))
            .collect(),
        faults: mine.iter().map(|s| s.measured.faults).sum(),
        share: share(&mine, &plain, |s| s.wire),
        late_share: share(&mine, &plain, late),
        carried: first.measured.carried,
    })
}

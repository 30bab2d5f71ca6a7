//! What a pod notices at its start: how long it takes from connect to the first redirected byte.

use super::cells;
use crate::case::Case;
use crate::mode::Mode;
use crate::results::Sample;
use crate::share::middle;
use crate::wire::HOPS;

/// Heads of the table's columns.
pub(super) const HEAD: [&str; 7] = [
    "what",
    "mode",
    "way",
    "connections that had one",
    "median",
    "p90",
    "p99",
];
/// Of plain TCP's bytes, the share whose absence counts as a hop that takes part.
const PART: f64 = 0.95;

/// For each cold case: the application's own connections, by what TCP itself says it has
/// carried; then each hop, by the interfaces.
pub(super) fn table(samples: &[&Sample]) -> Vec<[String; HEAD.len()]> {
    let mut cases: Vec<(&Case, Mode)> = Vec::new();
    for sample in samples.iter().filter(|s| !s.measured.series.is_empty()) {
        let key = (&sample.case, sample.mode);
        if sample.mode != Mode::Plain && !cases.contains(&key) {
            cases.push(key);
        }
    }
    cases
        .into_iter()
        .flat_map(|(case, mode)| {
            let of = |wanted: Mode| -> Vec<&Sample> {
                let found = samples.iter().copied();
                found
                    .filter(|s| s.case == *case && s.mode == wanted)
                    .collect()
            };
            let (mine, plain) = (of(mode), of(Mode::Plain));
            let head = [case.name(), mode.name().to_owned()];
            let own = own(&mine).into_iter();
            let rest = own.chain(hops(&mine, &plain));
            rest.map(|[way, share, median, p90, p99]| {
                let [what, mode] = head.clone();
                [what, mode, way, share, median, p90, p99]
            })
            .collect::<Vec<_>>()
        })
        .collect()
}

fn own(mine: &[&Sample]) -> Vec<[String; 5]> {
    let connections: usize = mine.iter().map(|s| s.case.connections as usize).sum();
    let way = |index: usize, name: &str| {
        let mut times: Vec<u64> = mine
            .iter()
            .flat_map(|s| s.measured.first_us[index].iter().copied())
            .collect();
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1) - 1;
            #[expect(clippy::cast_precision_loss, reason = "ten seconds")]
            let shown = |us: u64| cells::time(us as f64);
            times.get(rank).copied().map(shown).unwrap_or_default()
        };
        let share = format!("{} of {connections}", times.len());
        [name.to_owned(), share, at(50), at(90), at(99)]
    };
    // One gRPC client keeps no such times.
    if mine
        .iter()
        .all(|s| s.measured.first_us.iter().all(Vec::is_empty))
    {
        return Vec::new();
    }
    vec![
        way(0, "sent by the client"),
        way(1, "received by the client"),
    ]
}

/// When 95 % of a hop's bytes were on no interface any more, medians and extremes of rounds.
fn hops(mine: &[&Sample], plain: &[&Sample]) -> Vec<[String; 5]> {
    let hop = |hop: usize| {
        let whole = middle(plain, |s| s.wire[hop]);
        let mut times: Vec<f64> = mine
            .iter()
            .filter_map(|sample| {
                let mut moments = sample.measured.series.iter();
                let moment = moments.find(|m| m.wire[hop] <= (1.0 - PART) * whole)?;
                Some(moment.at)
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1) - 1;
            let time = times.get(rank).map(|at| format!("within {at:.1} s"));
            time.unwrap_or_else(|| "never".to_owned())
        };
        let name = format!("95 % of hop {}, by the interfaces", HOPS[hop]);
        let share = format!("{} of {} rounds", times.len(), mine.len());
        [name, share, at(50), at(90), at(99)]
    };
    (0..HOPS.len()).map(hop).collect()
}

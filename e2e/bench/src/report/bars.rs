//! By how much each bar was reached, or was not.

use clap::ValueEnum as _;

use super::Topics;
use super::bar::{Bar, Bound, Side};
use super::wanted::bars;
use crate::results::{Sample, Spread};
use crate::share::least_share;
use crate::summary::ratio;

/// Heads of the table's columns.
pub(super) const HEAD: [&str; 5] = ["what", "bar", "measured", "CPU for each", ""];

/// Bars that other programs hold: `(what, bar, where)`.
const ELSEWHERE: [[&str; 3]; 3] = [
    [
        "ADD and DEL of the plugin, 1 to 10 000 pods",
        "p50 1.5 ms, p99 5 ms, 4 MiB",
        "docs/cni.md, `sockway-conformance bench --bars`",
    ],
    [
        "kernel memory of an accelerated connection",
        "1 KiB beyond TCP's own",
        "docs/programs.md, `make test-programs`",
    ],
    ["memory of the installer", "20 MiB", "`make test-node`"],
];

/// The table, from raw results.
pub(super) fn rows(topics: &[Topics]) -> Vec<[String; HEAD.len()]> {
    let samples: Vec<&Sample> = topics.iter().flat_map(|topic| &topic.samples).collect();
    let elsewhere = ELSEWHERE.map(|[what, bar, place]| {
        let text = [what, bar, "", "", place];
        text.map(str::to_owned)
    });
    let measured = bars().into_iter().map(|bar| row(&bar, &samples));
    measured.chain(elsewhere).collect()
}

fn row(bar: &Bar, samples: &[&Sample]) -> [String; HEAD.len()] {
    let side = |side: Side| -> Vec<&Sample> {
        let of = |sample: &&&Sample| sample.mode == side.0 && bar.is_of(&sample.case, side);
        samples.iter().filter(of).copied().collect()
    };
    let (mine, by) = (side(bar.mine), side(bar.by));
    let (figure, limit): (fn(&Sample) -> f64, _) = match bar.bound {
        Bound::Rate(least) => (|s| s.measured.rate, format!("at least {least:.2}x")),
        Bound::Average(most) => (|s| s.measured.mean_us, format!("at most {most:.2}x")),
        Bound::Median(most) => (|s| s.measured.p50_us, format!("at most {most:.2}x")),
        Bound::Share(least) => (|_| 0.0, format!("at least {:.0} %", 100.0 * least)),
    };
    let (measured, spread) = match bar.bound {
        Bound::Share(_) => (least_share(&mine, &by), percent as fn(Spread) -> String),
        _ => (ratio(&mine, &by, figure), times as fn(Spread) -> String),
    };
    let cpu = ratio(&mine, &by, |s| s.cpu_us);
    let verdict = measured.map_or_else(
        || {
            let topic = bar.topic.to_possible_value();
            let topic = topic.as_ref().map_or("", |value| value.get_name());
            format!("not measured: `run --topic {topic} --full`")
        },
        |measured| verdict(bar.bound, measured),
    );
    [
        bar.what.clone(),
        limit,
        measured.map(spread).unwrap_or_default(),
        cpu.map(times).unwrap_or_default(),
        verdict,
    ]
}

fn times(
    Spread {
        median,
        least,
        most,
    }: Spread,
) -> String {
    format!("**{median:.3}x** ({least:.2} to {most:.2})")
}

fn percent(
    Spread {
        median,
        least,
        most,
    }: Spread,
) -> String {
    let [median, least, most] = [median, least, most].map(|share| 100.0 * share);
    format!("**{median:.1} %** ({least:.0} to {most:.0})")
}

/// By the median of the rounds' ratios, and whether every round agrees.
fn verdict(bound: Bound, of: Spread) -> String {
    let missing = |figure: f64| match bound {
        Bound::Rate(least) | Bound::Share(least) => (least - figure) / least,
        Bound::Average(most) | Bound::Median(most) => (figure - most) / most,
    };
    let reached = |figure| missing(figure) <= 0.0;
    let median = reached(of.median);
    let mut text = if median {
        "reached".to_owned()
    } else {
        format!("missed by {:.1} %", missing(of.median) * 100.0)
    };
    if reached(of.least) != median || reached(of.most) != median {
        text += ", not in every round";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Bound, Spread, verdict};

    #[test]
    fn how_much_is_missing() {
        let verdict = |bound, least, median, most| {
            let spread = Spread {
                median,
                least,
                most,
            };
            verdict(bound, spread)
        };
        let of = Bound::Rate(2.0);
        assert_eq!(verdict(of, 1.4, 1.5, 1.6), "missed by 25.0 %");
        assert_eq!(
            verdict(of, 1.4, 1.5, 2.1),
            "missed by 25.0 %, not in every round"
        );
        assert_eq!(verdict(of, 2.0, 2.1, 2.2), "reached");
        assert_eq!(verdict(of, 1.9, 2.1, 2.2), "reached, not in every round");
        let of = Bound::Average(0.5);
        assert_eq!(verdict(of, 0.55, 0.6, 0.7), "missed by 20.0 %");
        assert_eq!(verdict(of, 0.3, 0.4, 0.5), "reached");
    }
}

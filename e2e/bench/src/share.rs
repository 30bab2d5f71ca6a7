//! Shares of plain TCP's bytes that no interface saw.

use sockway_testkit::median::median;

use crate::results::{Sample, Spread};
use crate::wire::HOPS;

/// Seconds after which everything that can take part is to.
const SETTLED: f64 = 3.0;

/// Bytes on each hop for each request from the third second on; 0 where that was not watched.
pub(crate) fn late(sample: &Sample) -> [f64; HOPS.len()] {
    let late = || {
        let moments = sample.measured.series.iter();
        moments.filter(|moment| moment.at > SETTLED + 0.5)
    };
    let rate: f64 = late().map(|moment| moment.rate).sum();
    std::array::from_fn(|hop| {
        let bytes = late().map(|moment| moment.wire[hop] * moment.rate);
        if rate > 0.0 {
            bytes.sum::<f64>() / rate
        } else {
            0.0
        }
    })
}

/// The median of a figure.
pub(crate) fn middle(samples: &[&Sample], figure: impl Fn(&Sample) -> f64) -> f64 {
    median(samples.iter().map(|sample| figure(sample)).collect())
}

/// The least share of all hops from the third second on, in each round.
pub(crate) fn least_share(mine: &[&Sample], plain: &[&Sample]) -> Option<Spread> {
    let pairs = mine.iter().filter_map(|sample| {
        let other = plain.iter().find(|other| other.round == sample.round)?;
        let (mine, other) = (late(sample), late(other));
        let shares = (0..HOPS.len()).map(|hop| 1.0 - mine[hop] / other[hop]);
        let least = shares.fold(f64::INFINITY, f64::min);
        least.is_finite().then_some(least)
    });
    let shares: Vec<f64> = pairs.collect();
    (!shares.is_empty()).then(|| Spread::of(shares))
}

/// What is missing on each hop beside plain TCP in the same round, medians of rounds.
pub(crate) fn share(
    mine: &[&Sample],
    plain: &[&Sample],
    wire: impl Fn(&Sample) -> [f64; HOPS.len()],
) -> Option<[f64; HOPS.len()]> {
    let of = |hop: usize| {
        let pairs = mine.iter().filter_map(|sample| {
            let other = plain.iter().find(|other| other.round == sample.round)?;
            let (mine, other) = (wire(sample)[hop], wire(other)[hop]);
            (other > 0.0).then(|| 1.0 - mine / other)
        });
        let shares: Vec<f64> = pairs.collect();
        (!shares.is_empty()).then(|| median(shares))
    };
    Some([of(0)?, of(1)?, of(2)?])
}

#[cfg(test)]
mod tests {
    use super::share;
    use crate::case::{Case, Tool};
    use crate::mode::Mode;
    use crate::results::{Measured, Sample};
    use crate::topic::Topic;
    use sockway_testkit::hops::Hops;

    #[test]
    fn a_share_is_of_the_same_round() {
        let sample = |mode, round, wire| Sample {
            case: Case {
                topic: Topic::Cold,
                tool: Tool::PoolTcp,
                connections: 1,
                payload: 1,
                limit: 0,
                idle: 0,
                pods: 0,
                secure: false,
            },
            mode,
            round,
            measured: Measured::default(),
            cpu_us: 0.0,
            hops: Hops::default(),
            wire,
        };
        let plain = sample(Mode::Plain, 1, [100.0, 100.0, 200.0]);
        let other = sample(Mode::Plain, 2, [1.0, 1.0, 1.0]);
        let auto = sample(Mode::Auto, 1, [0.0, 100.0, 50.0]);
        let found = share(&[&auto], &[&other, &plain], |s| s.wire).expect("a pair");
        for (found, wanted) in found.into_iter().zip([1.0, 0.0, 0.75]) {
            assert!((found - wanted).abs() < 1e-9, "{found}");
        }
        assert!(share(&[&auto], &[&other], |s| s.wire).is_none());
    }
}

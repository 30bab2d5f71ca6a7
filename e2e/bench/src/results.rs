//! What was measured.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use sockway_testkit::hops::Hops;
use sockway_testkit::median::median;

use crate::case::Case;
use crate::mode::Mode;
use crate::wire::HOPS;

/// Points of a latency distribution, percent.
pub(crate) const QUANTILES: [f64; 12] = [
    1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0,
];

/// Figures of one measurement. Times in microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Requests, round trips, connections or MiB.
    pub(crate) count: u64,
    /// Of those per second.
    pub(crate) rate: f64,
    /// Average time of one; 0 where it was not measured one by one.
    pub(crate) mean_us: f64,
    /// Median.
    pub(crate) p50_us: f64,
    /// 99th percentile.
    pub(crate) p99_us: f64,
    /// `(percent, at most)`.
    pub(crate) latency: Vec<(f64, f64)>,
    /// Requests that failed.
    pub(crate) faults: u64,
    /// Over time, where it was watched.
    #[serde(default)]
    pub(crate) series: Vec<Moment>,
    /// Of the bytes sent and received, the shares that TCP has not carried, where that was asked.
    #[serde(default)]
    pub(crate) carried: Option<[f64; 2]>,
    /// From connect to the first byte by redirection, of every connection that had one:
    /// sent, received.
    #[serde(default)]
    pub(crate) first_us: [Vec<u64>; 2],
}

/// A part of a measurement.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Its end, seconds from the first connect.
    pub(crate) at: f64,
    /// Requests per second in it.
    pub(crate) rate: f64,
    /// Bytes on each hop for each request, as the interfaces counted them.
    pub(crate) wire: [f64; HOPS.len()],
}

impl Measured {
    /// From a histogram of nanoseconds.
    pub(crate) fn of(times: &Histogram<u64>, over: Duration) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of one run are far below 2^52"
        )]
        let us = |nanos: u64| nanos as f64 / 1e3;
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of one run are far below 2^52"
        )]
        let rate = times.len() as f64 / over.as_secs_f64();
        Self {
            count: times.len(),
            rate,
            mean_us: times.mean() / 1e3,
            p50_us: us(times.value_at_quantile(0.5)),
            p99_us: us(times.value_at_quantile(0.99)),
            latency: QUANTILES
                .iter()
                .map(|percent| (*percent, us(times.value_at_quantile(percent / 100.0))))
                .collect(),
            ..Self::default()
        }
    }
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// What was measured.
    pub(crate) case: Case,
    /// How connections were made.
    pub(crate) mode: Mode,
    /// Which round it was, from 0.
    pub(crate) round: u32,
    /// Its figures.
    pub(crate) measured: Measured,
    /// CPU time of everything that took part for one request, by the cgroup's account.
    pub(crate) cpu_us: f64,
    /// What the datapath counted.
    pub(crate) hops: Hops,
    /// Bytes on each hop for each request, as the interfaces counted them; 0 where it was not
    /// through both Envoys.
    #[serde(default)]
    pub(crate) wire: [f64; HOPS.len()],
}

/// Middle, least and most of several rounds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// Median.
    pub(crate) median: f64,
    /// Least.
    pub(crate) least: f64,
    /// Most.
    pub(crate) most: f64,
}

impl Spread {
    /// Of any number of figures; all 0 of none.
    pub(crate) fn of(values: Vec<f64>) -> Self {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        Self {
            least: if least.is_finite() { least } else { 0.0 },
            most,
            median: median(values),
        }
    }
}

//! What a load client reports.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

pub use super::early::{First, Series};

/// Figures of one run. Times in microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Requests answered in the measured time.
    pub requests: u64,
    /// Requests answered per second.
    pub qps: f64,
    /// Average time from request to answer.
    pub average_us: f64,
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// CPU time of the cgroup for each request, where it was asked for.
    pub cpu_us: Option<f64>,
    /// Answers over time, where they were asked for.
    #[serde(default)]
    pub series: Option<Series>,
    /// First redirected bytes, where they were asked for.
    #[serde(default)]
    pub first: Option<First>,
    /// Answers that were wrong, connections that failed.
    pub faults: u64,
    /// The first of them, in words.
    pub descriptions: Vec<String>,
}

/// Faults described in full.
const DESCRIBED: usize = 10;

impl Report {
    /// Notes something wrong.
    pub fn fault(&mut self, description: String) {
        self.faults += 1;
        if self.descriptions.len() < DESCRIBED {
            self.descriptions.push(description);
        }
    }

    /// Takes the figures from a histogram of nanoseconds.
    pub fn measured(&mut self, times: &Histogram<u64>, over: Duration, cpu: Option<Duration>) {
        let us = |ns: f64| (ns / 10.0).round() / 100.0;
        #[expect(
            clippy::cast_precision_loss,
            reason = "figures of one run are far below 2^52"
        )]
        let float = |value: u64| value as f64;
        self.requests = times.len();
        self.qps = (float(times.len()) / over.as_secs_f64()).round();
        self.average_us = us(times.mean());
        self.p50_us = us(float(times.value_at_quantile(0.5)));
        self.p99_us = us(float(times.value_at_quantile(0.99)));
        let requests = float(times.len().max(1));
        self.cpu_us = cpu.map(|cpu| us(cpu.as_secs_f64() * 1e9 / requests));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            qps,
            average_us,
            p50_us,
            p99_us,
            cpu_us,
            faults,
            descriptions,
            ..
        } = self;
        write!(
            f,
            "{qps:.0} requests/s, average {average_us:.0} us, p50 {p50_us:.0} us, "
        )?;
        write!(f, "p99 {p99_us:.0} us")?;
        if let Some(cpu) = cpu_us {
            write!(f, ", {cpu:.1} us CPU per request")?;
        }
        writeln!(f, ", {faults} faults")?;
        descriptions
            .iter()
            .try_for_each(|line| writeln!(f, "    {line}"))
    }
}

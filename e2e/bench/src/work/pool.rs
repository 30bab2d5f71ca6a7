//! Our own client, all connections opened at once: answers over time, beside what the
//! interfaces counted, and when each connection's first byte was redirected.

use std::time::Duration;

use anyhow::{Result, ensure};
use sockway_testkit::load::report::Series;
use sockway_testkit::mesh::load;
use sockway_testkit::mesh::pod::at;
use sockway_testkit::mesh::sidecar::{Protocol, vip};

use super::SLACK;
use crate::case::{Case, Tool};
use crate::results::{Measured, Moment};
use crate::stage::{self, HTTP, Stage, TCP};
use crate::wire::{self, HOPS, Reading};

/// Milliseconds of a bin of answers.
const BIN: u64 = 100;
/// Bins that are one moment.
const MOMENT: usize = 5;

/// Runs it once, without any connection before.
pub(super) fn run(stage: &Stage, case: &Case, millis: u64) -> Result<Measured> {
    let (protocol, base) = match case.tool {
        Tool::PoolHttp => (Protocol::Http, HTTP),
        _ => (Protocol::Tcp, TCP),
    };
    let to = at(vip(0, 10), stage.port(base, case.secure));
    let numbers = [
        u64::from(case.connections),
        u64::from(case.payload),
        millis,
        BIN,
    ];
    let [connections, size, duration, bin] = numbers.map(|number| number.to_string());
    let args = [
        ["--connections", &connections],
        ["--size", &size],
        ["--duration", &duration],
        ["--series", &bin],
        ["--settle", "0"],
    ]
    .concat();
    let args = [args, vec!["--first"]].concat();
    let (report, readings) = wire::watched(stage, || {
        let (node, program) = (&stage.node, stage::own_load(&stage.node)?);
        let client = load::ask(node, &stage.client, &program, (protocol, &to), &args)?;
        load::report(client, Duration::from_millis(millis) + SLACK)
    })?;
    ensure!(report.requests > 0, "no answer: {:?}", report.descriptions);
    Ok(Measured {
        count: report.requests,
        rate: report.qps,
        mean_us: report.average_us,
        p50_us: report.p50_us,
        p99_us: report.p99_us,
        faults: report.faults,
        series: moments(&report.series.unwrap_or_default(), &readings),
        first_us: report
            .first
            .map_or_else(Default::default, |first| [first.sent, first.received]),
        ..Measured::default()
    })
}

/// Answers and counters in the same stretches of time.
fn moments(series: &Series, readings: &[Reading]) -> Vec<Moment> {
    let mut moments = Vec::new();
    let mut before = wire::at(readings, series.started);
    for (index, answers) in series.answers.chunks_exact(MOMENT).enumerate() {
        let ended = (index as u64 + 1) * MOMENT as u64 * series.bin;
        let now = wire::at(readings, series.started + ended);
        let answers: u64 = answers.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "ten seconds of answers")]
        let (answers, end, length) = (
            answers as f64,
            ended as f64 / 1e3,
            (MOMENT as u64 * series.bin) as f64 / 1e3,
        );
        if let (Some(from), Some(to)) = (before, now) {
            let each = |hop: usize| (to[hop] - from[hop]) / answers.max(1.0);
            let wire: [f64; HOPS.len()] = std::array::from_fn(each);
            moments.push(Moment {
                at: end,
                rate: answers / length,
                wire,
            });
        }
        before = now;
    }
    moments
}

/// The same from a list of times at which requests were made, nanoseconds of the Unix epoch.
pub(super) fn moments_of(times: &[u64], readings: &[Reading]) -> Vec<Moment> {
    let Some(started) = times.iter().min().map(|first| first / 1_000_000) else {
        return Vec::new();
    };
    let mut answers = Vec::new();
    for time in times {
        let bin = usize::try_from((time / 1_000_000 - started) / BIN).unwrap_or(usize::MAX);
        if answers.len() <= bin {
            answers.resize(bin + 1, 0);
        }
        answers[bin] += 1;
    }
    let series = Series {
        started,
        bin: BIN,
        answers,
    };
    moments(&series, readings)
}

#[cfg(test)]
mod tests {
    use super::{Reading, Series, moments, moments_of};

    #[test]
    fn bytes_for_each_request_of_a_moment() {
        let reading = |at, bytes| Reading { at, bytes };
        let readings = [
            reading(900, [0, 0, 0]),
            reading(1000, [0, 0, 0]),
            reading(1500, [5000, 0, 100]),
            reading(2000, [5000, 0, 100]),
        ];
        let series = Series {
            started: 1000,
            bin: 100,
            answers: vec![1, 1, 1, 1, 1, 10, 0, 0, 0, 0, 7],
        };
        let moments = moments(&series, &readings);
        let close = |value: f64, wanted: f64| assert!((value - wanted).abs() < 1e-6, "{value}");
        assert_eq!(moments.len(), 2);
        close(moments[0].wire[0], 1000.0);
        close(moments[0].wire[2], 20.0);
        close(moments[0].rate, 10.0);
        close(moments[1].wire[0], 0.0);
        close(moments[1].rate, 20.0);
        close(moments[1].at, 1.0);
        let times: Vec<u64> = (0..10).map(|n| (1000 + n * 100) * 1_000_000).collect();
        close(moments_of(&times, &readings)[0].wire[0], 1000.0);
    }
}

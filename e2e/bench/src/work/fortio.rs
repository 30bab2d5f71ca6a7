//! fortio as the load.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use sockway_testkit::mesh::pod::at;
use sockway_testkit::mesh::sidecar::vip;

use super::{SLACK, pool};
use crate::case::{Case, Tool};
use crate::results::{Measured, QUANTILES};
use crate::stage::{FILE, FILES, FORTIO_KIB, GRPC, HTTP, Stage, TCP};
use crate::wire;

/// Finest bucket of fortio's histogram, seconds.
const RESOLUTION: &str = "0.00001";
/// Answers that are as they should be: TCP, HTTP, gRPC.
const GOOD: [&str; 3] = ["OK", "200", "SERVING"];

/// Streams at a time on the one channel.
const STREAMS: &str = "8";

/// A line of fortio's log of requests.
#[derive(Deserialize)]
struct Logged {
    /// When it was made, nanoseconds of the Unix epoch.
    timestamp: u64,
}

/// The parts of fortio's report that are used.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    #[serde(rename = "ActualQPS")]
    actual_qps: f64,
    duration_histogram: Histogram,
    ret_codes: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Histogram {
    count: u64,
    avg: f64,
    data: Vec<Bucket>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bucket {
    start: f64,
    end: f64,
    percent: f64,
}

/// Runs it once, after a few requests on two connections, from which the
/// datapath learns how the applications read.
pub(super) fn run(stage: &Stage, case: &Case, millis: u64) -> Result<Measured> {
    let url = &url(stage, case);
    fortio(stage, case, &["-c", "2", "-n", "64"], url, Duration::ZERO)?;
    let (connections, limit) = (case.connections.to_string(), case.limit.to_string());
    let time = format!("{millis}ms");
    let args = ["-c", &connections, "-qps", &limit, "-t", &time];
    fortio(stage, case, &args, url, Duration::from_millis(millis))
}

fn url(stage: &Stage, case: &Case) -> String {
    let to = |base| at(vip(0, 10), stage.port(base, case.secure));
    match case.tool {
        Tool::FortioTcp => format!("tcp://{}", to(TCP)),
        Tool::FortioHttp => format!("http://{}/", to(HTTP)),
        Tool::Files => format!("http://{}/{}", to(FILES), FILE.0),
        _ => to(GRPC),
    }
}

/// One gRPC channel, opened once and never before, with as many streams at a time; the
/// requests' times by fortio's own log.
pub(super) fn channel(stage: &Stage, case: &Case, millis: u64) -> Result<Measured> {
    let log = stage.node.scratch.path("channel.log");
    let (time, log_shown) = (format!("{millis}ms"), log.to_string_lossy());
    let args = [
        "-c",
        "1",
        "-s",
        STREAMS,
        "-t",
        &time,
        "-access-log-file",
        &log_shown,
    ];
    let (mut measured, readings) = wire::watched(stage, || {
        fortio(
            stage,
            case,
            &args,
            &url(stage, case),
            Duration::from_millis(millis),
        )
    })?;
    let text = std::fs::read_to_string(&log).context("read fortio's log")?;
    let times: Vec<u64> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Logged>(line).ok())
        .map(|line| line.timestamp)
        .collect();
    ensure!(
        times.len() as u64 == measured.count,
        "fortio made {} requests and logged {}",
        measured.count,
        times.len()
    );
    measured.series = pool::moments_of(&times, &readings);
    Ok(measured)
}

fn fortio(
    stage: &Stage,
    case: &Case,
    args: &[&str],
    url: &str,
    time: Duration,
) -> Result<Measured> {
    // A file is asked for, not sent.
    let size = match case.tool {
        Tool::Files => "0".to_owned(),
        _ => case.payload.to_string(),
    };
    // Room for an answer's headers.
    let buffer = ((case.payload >> 10) + 64).to_string();
    let mut all = vec![
        "load",
        "-json",
        "-",
        "-quiet",
        "-loglevel",
        "error",
        "-r",
        RESOLUTION,
        "-maxpayloadsizekb",
        FORTIO_KIB,
        "-httpbufferkb",
        &buffer,
        "-payload-size",
        &size,
    ];
    if !args.contains(&"-qps") {
        all.extend(["-qps", "0"]);
    }
    all.extend(args);
    if matches!(case.tool, Tool::FortioGrpc | Tool::Channel) {
        all.extend(["-grpc", "-ping"]);
    }
    all.push(url);
    let fortio = stage.fortio.as_deref().context("no fortio here")?;
    let process = stage.client.start(&stage.node, "fortio", fortio, &all)?;
    let text = process.finish(time + SLACK)?;
    let report: Report = report(&text)
        .and_then(|json| serde_json::from_str(json).ok())
        .with_context(|| format!("fortio {url} printed no report: {text}"))?;
    measured(&report)
}

/// The report among fortio's log lines, which are JSON too, but on one line each.
fn report(text: &str) -> Option<&str> {
    let (from, to) = (text.find("{\n")?, text.rfind("\n}")?);
    text.get(from..to + 2)
}

fn measured(report: &Report) -> Result<Measured> {
    let Report {
        actual_qps,
        duration_histogram: Histogram { count, avg, data },
        ret_codes,
    } = report;
    ensure!(*count > 0, "fortio got no answer at all: {ret_codes:?}");
    let good: u64 = ret_codes
        .iter()
        .filter(|(code, _)| GOOD.contains(&code.as_str()))
        .map(|(_, n)| n)
        .sum();
    let at = |percent: f64| (percent, quantile(data, percent));
    Ok(Measured {
        count: *count,
        rate: *actual_qps,
        mean_us: avg * 1e6,
        p50_us: quantile(data, 50.0),
        p99_us: quantile(data, 99.0),
        latency: QUANTILES.map(at).into(),
        faults: count.saturating_sub(good),
        ..Measured::default()
    })
}

/// Microseconds below which so many percent lie, linear inside a bucket.
fn quantile(data: &[Bucket], percent: f64) -> f64 {
    let mut before = 0.0;
    for bucket in data {
        if bucket.percent >= percent {
            let share = (percent - before) / (bucket.percent - before).max(f64::MIN_POSITIVE);
            return (bucket.start + share * (bucket.end - bucket.start)) * 1e6;
        }
        before = bucket.percent;
    }
    data.last().map_or(0.0, |bucket| bucket.end * 1e6)
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Report, measured, quantile};

    #[test]
    fn quantiles_lie_inside_their_bucket() {
        let bucket = |start, end, percent| Bucket {
            start,
            end,
            percent,
        };
        let data = [bucket(0.0, 0.001, 50.0), bucket(0.001, 0.003, 100.0)];
        assert!((quantile(&data, 25.0) - 500.0).abs() < 1e-6);
        assert!((quantile(&data, 75.0) - 2000.0).abs() < 1e-6);
        assert!((quantile(&data, 100.0) - 3000.0).abs() < 1e-6);
    }

    #[test]
    fn a_report_is_read() {
        let text = r#"{"ActualQPS": 10.5, "RetCodes": {"200": 8, "503": 2}, "DurationHistogram":
            {"Count": 10, "Avg": 0.002, "Data": [{"Start": 0.001, "End": 0.003, "Percent": 100, "Count": 10}]}}"#;
        let report: Report = serde_json::from_str(text).expect("parses");
        let measured = measured(&report).expect("has answers");
        assert_eq!((measured.count, measured.faults), (10, 2));
        assert!((measured.mean_us - 2000.0).abs() < 1e-6);
    }
}

//! h2load as the load: HTTP/1.1 and HTTP/2 from a client that is not ours.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sockway_testkit::mesh::pod::at;
use sockway_testkit::mesh::sidecar::vip;

use super::SLACK;
use crate::case::{Case, Tool};
use crate::results::Measured;
use crate::stage::{HTTP, Stage};

/// Found on `PATH`.
const PROGRAM: &str = "h2load";

/// Runs it once, after a short run for the datapath to learn from.
pub(super) fn run(stage: &Stage, case: &Case, millis: u64) -> Result<Measured> {
    let to = at(vip(0, 10), stage.port(HTTP, case.secure));
    let url = &format!("http://{to}/");
    let payload = stage.node.scratch.path("payload");
    std::fs::write(&payload, vec![0x5a; case.payload as usize])
        .with_context(|| format!("write {}", payload.display()))?;
    h2load(stage, case, url, &payload, &["-c", "2", "-n", "64"], 0)?;
    let (connections, time) = (case.connections.to_string(), format!("{millis}ms"));
    let args = ["-c", &connections, "-D", &time];
    h2load(stage, case, url, &payload, &args, millis)
}

fn h2load(
    stage: &Stage,
    case: &Case,
    url: &str,
    payload: &Path,
    args: &[&str],
    millis: u64,
) -> Result<Measured> {
    let payload = payload.to_string_lossy();
    let mut all = vec!["-t", "1", "-m", "1", "-d", &payload];
    if case.tool == Tool::Http1 {
        all.push("--h1");
    }
    all.extend(args);
    all.push(url);
    let program = Path::new(PROGRAM);
    let process = stage.client.start(&stage.node, PROGRAM, program, &all)?;
    let text = process.finish(Duration::from_millis(millis) + SLACK)?;
    parse(&text).with_context(|| format!("h2load {url} printed: {text}"))
}

/// Takes the figures out of what h2load prints for people.
fn parse(text: &str) -> Result<Measured> {
    let line = |start: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(start))
            .with_context(|| format!("no line {start:?}"))
    };
    let rate = line("finished in ")?
        .split_once(", ")
        .and_then(|(_, rest)| rest.split_once(" req/s"))
        .and_then(|(rate, _)| rate.parse().ok())
        .context("no rate")?;
    let codes = line("status codes: ")?;
    let number = |what: &str| -> u64 {
        let mut parts = codes.split(", ");
        parts
            .find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
            .unwrap_or(0)
    };
    let good = number("2xx");
    let bad = number("3xx") + number("4xx") + number("5xx");
    ensure!(good > 0, "no answer was good");
    let times: Vec<f64> = line("time for request:")?
        .split_whitespace()
        .filter_map(microseconds)
        .collect();
    let [_least, _most, mean, _deviation] = times[..] else {
        anyhow::bail!("not four times of requests");
    };
    Ok(Measured {
        count: good,
        rate,
        mean_us: mean,
        faults: bad,
        ..Measured::default()
    })
}

fn microseconds(text: &str) -> Option<f64> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn figures_are_found() {
        let text = "finished in 1.02s, 6654.00 req/s, 6.72MB/s\n\
            requests: 6654 total, 6658 started, 6654 done, 6654 succeeded, 0 failed, 0 errored, 0 timeout\n\
            status codes: 6650 2xx, 0 3xx, 0 4xx, 4 5xx\n\
            time for request:       41us     50.69ms       581us      1.85ms    95.97%\n";
        let measured = parse(text).expect("parses");
        assert_eq!((measured.count, measured.faults), (6650, 4));
        assert!((measured.rate - 6654.0).abs() < 1e-9);
        assert!((measured.mean_us - 581.0).abs() < 1e-9);
        assert!(parse("starting benchmark...").is_err());
    }
}

//! fortio, as the reference article runs it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::counters;
use crate::kubectl::Kubectl;

/// What one run measured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Requests answered per second.
    pub(crate) qps: f64,
    /// Average time from request to answer, in microseconds.
    pub(crate) average_us: f64,
    /// Requests answered.
    pub(crate) requests: f64,
    /// Bytes that the interfaces of both pods counted, for each request.
    pub(crate) bytes: f64,
}

/// Runs `fortio load` with these arguments in the client of the namespace; every
/// answer that is not as it should be is an error.
pub(crate) fn load(kubectl: &Kubectl, namespace: &str, arguments: &str) -> Result<Figures> {
    let pods = ["fortioserver", "fortioclient"];
    load_from(
        kubectl,
        namespace,
        "deployment/fortioclient",
        &pods,
        arguments,
    )
}

/// The same from another client, with the interfaces of other pods counted.
pub(crate) fn load_from(
    kubectl: &Kubectl,
    namespace: &str,
    client: &str,
    pods: &[&str],
    arguments: &str,
) -> Result<Figures> {
    let count = || {
        pods.iter()
            .map(|app| counters::bytes(kubectl, namespace, app))
            .sum::<Result<u64>>()
    };
    let before = count()?;
    let text = kubectl
        .line(&format!(
            "-n {namespace} exec {client} -c captured -- fortio load -json - {arguments}"
        ))
        .limit(Duration::from_mins(3))
        .output()?;
    let after = count()?;
    let mut figures =
        parse(&text).with_context(|| format!("fortio load {arguments} in {namespace}"))?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let bytes = after.saturating_sub(before) as f64;
    figures.bytes = bytes / figures.requests;
    Ok(figures)
}

/// How many requests ended in which way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
}

/// Runs `fortio load` where some requests may fail.
pub(crate) fn counted(
    kubectl: &Kubectl,
    namespace: &str,
    client: &str,
    arguments: &str,
) -> Result<Counted> {
    let text = kubectl
        .line(&format!(
            "-n {namespace} exec {client} -c captured -- fortio load -json - -allow-initial-errors {arguments}"
        ))
        .limit(Duration::from_mins(3))
        .output()?;
    let report = report(&text)?;
    let codes = report["RetCodes"].as_object().context("no codes")?;
    let (mut answered, mut failed) = (0, 0);
    for (code, count) in codes {
        let sum = if good(code) {
            &mut answered
        } else {
            &mut failed
        };
        *sum += count.as_u64().context("no count")?;
    }
    Ok(Counted { answered, failed })
}

fn good(code: &str) -> bool {
    matches!(code, "200" | "OK" | "SERVING")
}

/// The report among what else fortio says.
fn report(text: &str) -> Result<Value> {
    let start = text.find("\n{").map_or(0, |at| at + 1);
    let start = if text.starts_with('{') { 0 } else { start };
    let end = text.rfind('}').map_or(text.len(), |at| at + 1);
    serde_json::from_str(&text[start..end]).with_context(|| format!("no report in {text}"))
}

fn parse(text: &str) -> Result<Figures> {
    let report = report(text)?;
    let histogram = &report["DurationHistogram"];
    let codes = report["RetCodes"].as_object().context("no codes")?;
    if let Some((code, count)) = codes.iter().find(|(code, _)| !good(code)) {
        bail!("{count} requests ended with {code}");
    }
    let number = |value: &Value| value.as_f64().context("a figure is missing");
    let requests = number(&histogram["Count"])?;
    if requests < 1.0 {
        bail!("no request was answered");
    }
    Ok(Figures {
        qps: number(&report["ActualQPS"])?,
        average_us: number(&histogram["Avg"])? * 1e6,
        requests,
        bytes: 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_report_and_refuses_one_with_errors() {
        let report = |codes: &str| {
            format!(
                "Fortio running\n{{\"ActualQPS\": 10, \"RetCodes\": {codes},
                \"DurationHistogram\": {{\"Count\": 50, \"Avg\": 0.001}}}}\nAll done\n"
            )
        };
        let figures = parse(&report("{\"OK\": 50}")).unwrap();
        assert!((figures.qps - 10.0).abs() < 1e-9 && (figures.average_us - 1000.0).abs() < 1e-6);
        assert!(parse(&report("{\"OK\": 49, \"-1\": 1}")).is_err());
    }
}

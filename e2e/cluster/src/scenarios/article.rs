//! The reference article's measurement, to the letter, in rounds that take turns.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Stage;
use crate::fortio::{self, Figures};
use crate::{app, product};

/// Namespaces by the scope of their pods, plain first.
const MODES: [(&str, &str); 3] = [("plain", "off"), ("auto", "auto"), ("all", "all")];
const PROTOCOLS: [(&str, &str); 2] = [
    ("TCP", "tcp://fortioserver:8078"),
    ("HTTP", "http://fortioserver:8080/echo"),
];

/// Until every Envoy has heard of new pods.
const SETTLE: Duration = Duration::from_secs(3);

/// Figures of all rounds: by mode, protocol, warmth.
type Rounds = [[[Vec<Figures>; 2]; 2]; 3];

pub(super) fn run(stage: &mut Stage) -> Result<()> {
    product::install(stage.kubectl, "")?;
    for mtls in [true, false] {
        let words = if mtls { "mutual TLS" } else { "no TLS" };
        stage.part(words, |stage| rates(stage, mtls, words));
    }
    for (namespace, _) in MODES {
        app::remove(stage.kubectl, namespace)?;
    }
    Ok(())
}

fn rates(stage: &mut Stage, mtls: bool, words: &str) -> Result<()> {
    let kubectl = stage.kubectl;
    for (namespace, scope) in MODES {
        app::article(kubectl, namespace, Some(scope), mtls)?;
    }
    let mut rounds = Rounds::default();
    for round in 0..stage.options.rounds {
        for turn in 0..MODES.len() {
            // Another mode begins each round: none is always the first.
            let mode = (round + turn) % MODES.len();
            let namespace = MODES[mode].0;
            for (protocol, (_, target)) in PROTOCOLS.iter().enumerate() {
                let arguments = format!(
                    "-c 64 -qps 0 -t {}s -payload-size 1024 {target}",
                    stage.options.seconds
                );
                let pair = cold_and_warm(stage, namespace, &arguments)?;
                for (figures, one) in rounds[mode][protocol].iter_mut().zip(pair) {
                    figures.push(one);
                }
            }
        }
        eprintln!(
            "  round {} of {} with {words}",
            round + 1,
            stage.options.rounds
        );
    }
    for (protocol, (name, _)) in PROTOCOLS.iter().enumerate() {
        for (warmth, warm) in ["cold", "warm"].iter().enumerate() {
            let of = |mode: usize| &rounds[mode][protocol][warmth];
            let plain = of(0);
            stage.note(format!(
                "{words}, {name} {warm}: plain {:.0} requests/s, {:.0} us",
                median(plain, |f| f.qps),
                median(plain, |f| f.average_us),
            ));
            for (mode, (_, scope)) in MODES.iter().enumerate().skip(1) {
                let (qps, average) = (
                    ratios(of(mode), plain, |f| f.qps),
                    ratios(of(mode), plain, |f| f.average_us),
                );
                let share = 1.0 - median(of(mode), |f| f.bytes) / median(plain, |f| f.bytes);
                stage.note(format!(
                    "{words}, {name} {warm}, {scope}: {:.0} requests/s, {:.2}x ({:.2} to {:.2}), latency {:.2}x, {:.1} % off the interfaces",
                    median(of(mode), |f| f.qps),
                    middle(&qps),
                    qps[0],
                    qps[qps.len() - 1],
                    middle(&average),
                    share * 100.0,
                ));
                if share < 0.95 {
                    stage.fault(format!(
                        "{words}, {name} {warm}, {scope}: only {:.1} % off the interfaces",
                        share * 100.0
                    ));
                }
            }
        }
    }
    if rounds[0][0][0].is_empty() {
        bail!("no round was made");
    }
    Ok(())
}

/// New pods, and the same load twice. An Envoy that has not heard of the new server yet
/// sends to an address that is gone, on plain as well: such a pair is made again.
fn cold_and_warm(stage: &mut Stage, namespace: &str, arguments: &str) -> Result<[Figures; 2]> {
    let kubectl = stage.kubectl;
    let once = || -> Result<[Figures; 2]> {
        app::restart(kubectl, namespace)?;
        thread::sleep(SETTLE);
        Ok([
            fortio::load(kubectl, namespace, arguments)?,
            fortio::load(kubectl, namespace, arguments)?,
        ])
    };
    match once() {
        Ok(pair) => Ok(pair),
        Err(error) => {
            stage.note(format!("{namespace}: made again after {error:#}"));
            once()
        }
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn middle(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn median(figures: &[Figures], of: impl Fn(&Figures) -> f64) -> f64 {
    middle(&sorted(figures.iter().map(of).collect()))
}

/// Each round's own ratio, in order.
fn ratios(figures: &[Figures], plain: &[Figures], of: impl Fn(&Figures) -> f64) -> Vec<f64> {
    sorted(
        figures
            .iter()
            .zip(plain)
            .map(|(one, other)| of(one) / of(other))
            .collect(),
    )
}

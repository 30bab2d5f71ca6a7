//! What the demo found, as a table.

use std::fmt;

use anyhow::{Result, bail};
use serde::Serialize;
use sockway_common::pair::hop;

use super::rounds::Round;
use crate::hops::{Hop, Hops};
use crate::load::report::Report as Load;
use crate::traffic::report::Report as Traffic;

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// TCP and HTTP.
    pub(crate) protocols: Protocols,
    /// Reports of the verified traffic.
    pub(crate) integrity: Vec<Traffic>,
    /// What was left on the machine, in words.
    pub(crate) leftovers: Vec<String>,
    /// How long all of it took.
    pub(crate) seconds: u64,
}

/// By protocol.
#[derive(Debug, Serialize)]
pub(crate) struct Protocols(Vec<Compared>);

/// Medians over the rounds of one protocol.
#[derive(Debug, Serialize)]
struct Compared {
    protocol: &'static str,
    plain: Load,
    accelerated: Load,
    hops: Hops,
}

impl Protocols {
    /// Medians of everything.
    pub(crate) fn summarise(rounds: &[Round]) -> Self {
        let compared = ["tcp", "http"].map(|protocol| {
            let of = |accelerated: bool| {
                rounds
                    .iter()
                    .filter(move |r| r.protocol == protocol && r.accelerated == accelerated)
            };
            let loads = |accelerated| of(accelerated).map(|r| r.load.clone()).collect::<Vec<_>>();
            Compared {
                protocol,
                plain: median(&loads(false)),
                accelerated: median(&loads(true)),
                hops: sum(of(true).map(|round| &round.hops)),
            }
        });
        Self(compared.into())
    }
}

fn median(loads: &[Load]) -> Load {
    let middle = |figure: fn(&Load) -> f64| {
        let mut values: Vec<f64> = loads.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        match values.len() {
            0 => 0.0,
            n if n % 2 == 1 => values[n / 2],
            n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
        }
    };
    Load {
        requests: loads.iter().map(|load| load.requests).sum(),
        qps: middle(|load| load.qps),
        average_us: middle(|load| load.average_us),
        p50_us: middle(|load| load.p50_us),
        p99_us: middle(|load| load.p99_us),
        cpu_us: Some(middle(|load| load.cpu_us.unwrap_or(0.0))),
        faults: loads.iter().map(|load| load.faults).sum(),
        descriptions: loads
            .iter()
            .flat_map(|load| load.descriptions.clone())
            .collect(),
    }
}

fn sum<'a>(parts: impl Iterator<Item = &'a Hops>) -> Hops {
    let mut sums: Vec<Hop> = Vec::new();
    for Hops(hops) in parts {
        for (index, hop) in hops.iter().enumerate() {
            match sums.get_mut(index) {
                None => sums.push(hop.clone()),
                Some(sum) => {
                    sum.local += hop.local;
                    sum.joined += hop.joined;
                    sum.messages += hop.messages;
                    sum.bytes += hop.bytes;
                }
            }
        }
    }
    Hops(sums)
}

impl Results {
    /// An error that names everything that is not as it should be.
    pub(crate) fn verdict(&self) -> Result<()> {
        let mut wrong = Vec::new();
        for Compared {
            protocol,
            plain,
            accelerated,
            hops,
        } in &self.protocols.0
        {
            if plain.faults + accelerated.faults > 0 {
                wrong.push(format!(
                    "{protocol}: {} faults",
                    plain.faults + accelerated.faults
                ));
            }
            if accelerated.qps <= plain.qps {
                wrong.push(format!(
                    "{protocol}: not more requests per second than plain"
                ));
            }
            for kind in [hop::OUTBOUND, hop::INBOUND, hop::APP] {
                if !hops
                    .get(kind)
                    .is_some_and(|hop| hop.joined > 0 && hop.messages > 0)
                {
                    wrong.push(format!(
                        "{protocol}: hop {} was not accelerated",
                        hop::name(kind)
                    ));
                }
            }
        }
        for report in self.integrity.iter().filter(|report| !report.good()) {
            wrong.push(format!(
                "{}: {} faults in verified traffic",
                report.role, report.faults
            ));
        }
        wrong.extend(
            self.leftovers
                .iter()
                .map(|left| format!("left behind: {left}")),
        );
        if wrong.is_empty() {
            Ok(())
        } else {
            bail!("{}", wrong.join("; "))
        }
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        writeln!(
            f,
            "{:<8}{:<13}{:>9}{:>12}{:>10}{:>10}{:>16}",
            "", "", "QPS", "average us", "p50 us", "p99 us", "CPU us/request"
        )?;
        for Compared {
            protocol,
            plain,
            accelerated,
            hops,
        } in &self.protocols.0
        {
            for (name, load) in [("plain", plain), ("accelerated", accelerated)] {
                let Load {
                    qps,
                    average_us,
                    p50_us,
                    p99_us,
                    cpu_us,
                    ..
                } = load;
                let cpu = cpu_us.unwrap_or(0.0);
                writeln!(
                    f,
                    "{protocol:<8}{name:<13}{qps:>9.0}{average_us:>12.0}{p50_us:>10.0}{p99_us:>10.0}{cpu:>16.1}"
                )?;
            }
            let ratio = |of: fn(&Load) -> f64| of(accelerated) / of(plain).max(f64::MIN_POSITIVE);
            writeln!(
                f,
                "{protocol:<8}{:<13}{:>8.2}x{:>11.2}x{:>9.2}x{:>9.2}x{:>15.2}x",
                "ratio",
                ratio(|load| load.qps),
                ratio(|load| load.average_us),
                ratio(|load| load.p50_us),
                ratio(|load| load.p99_us),
                ratio(|load| load.cpu_us.unwrap_or(0.0)),
            )?;
            writeln!(f, "{protocol:<8}connections accelerated: {hops}")?;
            writeln!(f)?;
        }
        for report in &self.integrity {
            write!(f, "verified traffic, {report}")?;
        }
        match self.leftovers.as_slice() {
            [] => writeln!(f, "nothing was left on the machine")?,
            left => left
                .iter()
                .try_for_each(|left| writeln!(f, "left on the machine: {left}"))?,
        }
        writeln!(
            f,
            "{} s in all; medians of rounds, modes in turn, one machine",
            self.seconds
        )
    }
}

//! What the demo found, as a table.

use std::fmt;

use anyhow::{Result, bail};
use serde::Serialize;
use sockway_common::pair::hop;
use sockway_testkit::hops::{Hop, Hops};
use sockway_testkit::load::report::Report as Load;
use sockway_testkit::median::median as middle;
use sockway_testkit::mesh::mode::Mtls;
use sockway_testkit::traffic::report::Report as Traffic;

use super::rounds::Round;
use super::scene::{ROWS, Row};

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// TCP and HTTP, without mutual TLS between the Envoys and with it.
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
    /// Accelerated by plain: medians of the rounds' own ratios, as load on the
    /// machine that changes from round to round then counts for both alike.
    ratio: Ratio,
    hops: Hops,
}

/// Accelerated by plain.
#[derive(Clone, Debug, Serialize)]
struct Ratio {
    qps: f64,
    average: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
}

impl Ratio {
    fn of(plain: &[Load], accelerated: &[Load]) -> Self {
        let ratio = |figure: fn(&Load) -> f64| {
            let pairs = plain.iter().zip(accelerated);
            middle(
                pairs
                    .map(|(p, a)| figure(a) / figure(p).max(f64::MIN_POSITIVE))
                    .collect(),
            )
        };
        Self {
            qps: ratio(|load| load.qps),
            average: ratio(|load| load.average_us),
            p50: ratio(|load| load.p50_us),
            p99: ratio(|load| load.p99_us),
            cpu: ratio(|load| load.cpu_us.unwrap_or(0.0)),
        }
    }
}

impl Protocols {
    /// Medians of everything.
    pub(crate) fn summarise(rounds: &[Round], mtls: Mtls) -> Self {
        let rows = ROWS.into_iter().filter(|row| mtls.takes(row.secure));
        let compared = rows.map(|Row { name: protocol, .. }| {
            let of = |accelerated: bool| {
                rounds
                    .iter()
                    .filter(move |r| r.row == protocol && r.accelerated == accelerated)
            };
            let loads = |accelerated| of(accelerated).map(|r| r.load.clone()).collect::<Vec<_>>();
            let (plain, accelerated) = (loads(false), loads(true));
            Compared {
                protocol,
                plain: median(&plain),
                accelerated: median(&accelerated),
                ratio: Ratio::of(&plain, &accelerated),
                hops: sum(of(true).map(|round| &round.hops)),
            }
        });
        Self(compared.collect())
    }
}

fn median(loads: &[Load]) -> Load {
    let middle = |figure: fn(&Load) -> f64| middle(loads.iter().map(figure).collect());
    Load {
        requests: loads.iter().map(|load| load.requests).sum(),
        qps: middle(|load| load.qps),
        average_us: middle(|load| load.average_us),
        p50_us: middle(|load| load.p50_us),
        p99_us: middle(|load| load.p99_us),
        cpu_us: Some(middle(|load| load.cpu_us.unwrap_or(0.0))),
        series: None,
        first: None,
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
            ratio,
            hops,
        } in &self.protocols.0
        {
            if plain.faults + accelerated.faults > 0 {
                wrong.push(format!(
                    "{protocol}: {} faults",
                    plain.faults + accelerated.faults
                ));
            }
            // Encryption is most of what a request costs then: its gain is in the noise of a short run.
            let held = ROWS.iter().any(|row| row.name == *protocol && !row.secure);
            if held && ratio.qps <= 1.0 {
                wrong.push(format!(
                    "{protocol}: not more requests per second than plain"
                ));
            }
            for kind in [hop::OUTBOUND, hop::INBOUND, hop::APP] {
                if !hops
                    .get(kind)
                    .is_ok_and(|hop| hop.joined > 0 && hop.messages > 0)
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
            "{:<12}{:<13}{:>9}{:>12}{:>10}{:>10}{:>16}",
            "", "", "QPS", "average us", "p50 us", "p99 us", "CPU us/request"
        )?;
        for Compared {
            protocol,
            plain,
            accelerated,
            ratio,
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
                    "{protocol:<12}{name:<13}{qps:>9.0}{average_us:>12.0}{p50_us:>10.0}{p99_us:>10.0}{cpu:>16.1}"
                )?;
            }
            let Ratio {
                qps,
                average,
                p50,
                p99,
                cpu,
            } = ratio;
            writeln!(
                f,
                "{protocol:<12}{:<13}{qps:>8.2}x{average:>11.2}x{p50:>9.2}x{p99:>9.2}x{cpu:>15.2}x",
                "ratio"
            )?;
            writeln!(f, "{protocol:<12}connections accelerated: {hops}")?;
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
            "{} s in all; medians of rounds and of their ratios, modes in turn, one machine",
            self.seconds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Load, Ratio, middle};

    #[test]
    fn a_round_is_compared_with_itself() {
        let load = |qps| Load {
            qps,
            ..Load::default()
        };
        // The machine slowed down tenfold for the second round.
        let plain = [load(1000.0), load(100.0), load(1000.0)];
        let accelerated = [load(2000.0), load(200.0), load(1900.0)];
        assert!((Ratio::of(&plain, &accelerated).qps - 2.0).abs() < 1e-9);
    }

    #[test]
    fn medians() {
        assert!(middle(vec![]).abs() < 1e-9);
        assert!((middle(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((middle(vec![3.0, 1.0]) - 2.0).abs() < 1e-9);
    }
}

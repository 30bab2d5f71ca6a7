//! `sockway top`.

use std::io::IsTerminal;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::exit::Exit;
use crate::node::drain;
use crate::options::{Output, OutputArgs, PinArgs};
use crate::ui::{self, Align, Paint, Table};
use crate::view::pods;
use crate::view::rates::{self, PodRate};

/// Watch the busiest pods: throughput and accelerated share, refreshed each second
#[derive(Args, Debug)]
#[command(after_help = "\
Figures are for each second of the last interval. SHARE is the redirected part of the bytes of joined
connections. Ends with Ctrl-C. Where standard output is no terminal, tables follow each other.

Examples:
  sockway top
  sockway top --interval 5s --rows 10
  sockway top --count 1 -o json")]
pub struct TopArgs {
    #[command(flatten)]
    pins: PinArgs,

    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,

    /// Pods to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    rows: usize,

    /// Intervals after which to end [default: none, go on]
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Frame<'a> {
    total: &'a PodRate,
    pods: &'a [PodRate],
}

fn interval(word: &str) -> Result<Duration, String> {
    drain::duration(word).and_then(|time| {
        if time.is_zero() {
            Err("at least 1 s".to_owned())
        } else {
            Ok(time)
        }
    })
}

impl TopArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// Where the maps cannot be read.
    pub fn run(&self) -> Result<Exit> {
        let Some(pins) = self.pins.installed() else {
            return Ok(Exit::NotInstalled);
        };
        let mut before = pods::gather(&pins)?;
        let mut looked = Instant::now();
        let mut frames = 0;
        while self.count.is_none_or(|count| frames < count) {
            sleep(self.interval);
            let after = pods::gather(&pins)?;
            let now = Instant::now();
            let rates = rates::between(&before, &after, now - looked);
            self.show(&rates)?;
            (before, looked) = (after, now);
            frames += 1;
        }
        Ok(Exit::Done)
    }

    fn show(&self, rates: &[PodRate]) -> Result<()> {
        let total = rates::total(rates);
        let shown = &rates[..rates.len().min(self.rows)];
        if self.output.output == Output::Json {
            return ui::print_json(&Frame {
                total: &total,
                pods: shown,
            });
        }
        let clear = if std::io::stdout().is_terminal() {
            "\x1b[H\x1b[2J"
        } else {
            ""
        };
        let table = table(shown, &total).render(Paint::auto(), 0);
        let more = match rates.len() - shown.len() {
            0 => String::new(),
            n => format!("and {n} more\n"),
        };
        ui::print(&format!("{clear}{table}{more}\n"))
    }
}

fn table(rates: &[PodRate], total: &PodRate) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("POD", Left),
        ("SCOPE", Left),
        ("REDIRECTED/s", Right),
        ("BY TCP/s", Right),
        ("SHARE", Right),
        ("MESSAGES/s", Right),
        ("CONNECTIONS/s", Right),
    ]);
    for rate in rates.iter().chain([total]) {
        table.row([
            rate.pod.clone(),
            rate.scope.to_owned(),
            ui::bytes(whole(rate.redirected_bytes)),
            ui::bytes(whole(rate.tcp_bytes)),
            rate.share()
                .map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0)),
            ui::count(whole(rate.redirected_messages)),
            ui::count(whole(rate.connections)),
        ]);
    }
    table
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are not negative, and far below 2^53"
)]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
mod tests {
    use super::{interval, table};
    use crate::ui::Paint;
    use crate::view::rates::PodRate;

    #[test]
    fn a_frame() {
        let rate = PodRate {
            pod: "shop/cart".to_owned(),
            scope: "auto",
            connections: 2.4,
            redirected_messages: 1000.0,
            redirected_bytes: 3072.0,
            tcp_bytes: 1024.0,
        };
        let text = table(std::slice::from_ref(&rate), &rate).render(Paint::plain(), 0);
        for part in ["shop/cart", "3.0 KiB", "1.0 KiB", "75.0 %", "1,000"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(interval("0").is_err());
    }
}

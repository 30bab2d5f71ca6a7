//! What the switches came to.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use sockway_testkit::load::report::Report;
use sockway_testkit::median::median;

/// Times of one kind of step, milliseconds.
#[derive(Debug, Default, Serialize)]
pub(super) struct Times(Vec<f64>);

impl Times {
    pub(super) fn add(&mut self, time: Duration) {
        self.0.push((time.as_secs_f64() * 1000.0).round());
    }
}

/// Shares of bytes, per cent.
#[derive(Debug, Default, Serialize)]
pub(super) struct Shares(Vec<f64>);

impl Shares {
    #[expect(
        clippy::cast_precision_loss,
        reason = "bytes of a moment are far below 2^52"
    )]
    pub(super) fn add(&mut self, of: u64, seen: u64) {
        let share = 1.0 - seen as f64 / of.max(1) as f64;
        self.0.push((share * 1000.0).round() / 10.0);
    }
}

/// All of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Results {
    /// Connections that were open all the while.
    pub(super) connections: u32,
    /// Commands that were killed in their midst.
    pub(super) killed: u32,
    /// Until every send that begins goes by TCP after `off`.
    pub(super) effective: Times,
    /// Until every socket has left after `off`.
    pub(super) off: Times,
    /// Until `uninstall` has ended.
    pub(super) uninstall: Times,
    /// Until every end was in the sockhash again.
    pub(super) back: Times,
    /// Of the bytes that interfaces carried while all went by TCP, what they did not carry right after that.
    pub(super) unseen: Shares,
    /// What the load saw.
    pub(super) load: Report,
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} connections, {} commands killed in their midst",
            self.connections, self.killed
        )?;
        for (what, times) in [
            ("off: every send by TCP", &self.effective),
            ("off: every socket has left", &self.off),
            ("uninstall", &self.uninstall),
            ("all in again", &self.back),
        ] {
            let (count, median) = (times.0.len(), median(times.0.clone()));
            let most = times.0.iter().copied().fold(0.0, f64::max);
            writeln!(
                f,
                "{what:<28}{count:>4} times, median {median:>6} ms, most {most:>6} ms"
            )?;
        }
        writeln!(
            f,
            "bytes that no interface saw right after that: median {:.0} %",
            median(self.unseen.0.clone())
        )?;
        write!(f, "load: {}", self.load)
    }
}

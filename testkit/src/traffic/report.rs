//! What a traffic client or server reports at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::plan::Plan;

/// Faults described in full; the rest are counted.
const DESCRIBED: usize = 20;

/// Sums over all connections of one process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// `client` or `server`.
    pub role: String,
    /// Connections begun.
    pub connections: u64,
    /// Connections of which every byte was right and the end as planned.
    pub verified: u64,
    /// Connections that moved nothing for longer than the limit.
    pub hangs: u64,
    /// Everything that was wrong, hangs included.
    pub faults: u64,
    /// Faults by what was wrong, in a word.
    pub by_fault: BTreeMap<String, u64>,
    /// Local ports that were taken, so that another was tried.
    pub port_retries: u64,
    /// Bytes of bodies sent.
    pub sent: u64,
    /// Bytes of bodies received and verified.
    pub received: u64,
    /// Verified connections by shape of conversation.
    pub by_kind: BTreeMap<String, u64>,
    /// The first faults, in words.
    pub descriptions: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(role: &str) -> Self {
        Self {
            role: role.to_owned(),
            ..Self::default()
        }
    }

    /// The one that a client or server printed.
    pub fn in_output(text: &str) -> Result<Self> {
        let line = text.lines().find(|line| line.starts_with('{'));
        let line = line.with_context(|| format!("there is no report in {text:?}"))?;
        serde_json::from_str(line).with_context(|| format!("parse {line:?}"))
    }

    /// A connection went as planned.
    pub(crate) fn verified(&mut self, plan: &Plan, (sent, received): (u64, u64)) {
        self.verified += 1;
        self.sent += sent;
        self.received += received;
        *self.by_kind.entry(plan.kind.name().to_owned()).or_default() += 1;
    }

    /// A connection did not; `kind` as of [`Fault::kind`].
    pub(crate) fn fault(&mut self, kind: &str, description: impl FnOnce() -> String) {
        self.faults += 1;
        *self.by_fault.entry(kind.to_owned()).or_default() += 1;
        if self.descriptions.len() < DESCRIBED {
            self.descriptions.push(description());
        }
    }

    /// Connections on which bytes came that were not sent so.
    pub fn corrupt(&self) -> u64 {
        let of = |kind: &&str| self.by_fault.get(*kind).copied().unwrap_or(0);
        Fault::CORRUPT.iter().map(of).sum()
    }

    /// Sets the time it took.
    pub(crate) fn took(&mut self, time: Duration) {
        self.seconds = (time.as_secs_f64() * 1e3).round() / 1e3;
    }

    /// True where nothing was wrong.
    pub const fn good(&self) -> bool {
        self.faults == 0 && self.verified == self.connections
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            role,
            connections,
            verified,
            hangs,
            faults,
            seconds,
            ..
        } = self;
        writeln!(
            f,
            "{role}: {verified} of {connections} connections verified in {seconds:.1} s"
        )?;
        let mib = |bytes: u64| bytes >> 20;
        writeln!(
            f,
            "  {} MiB sent, {} MiB received",
            mib(self.sent),
            mib(self.received)
        )?;
        for (kind, count) in &self.by_kind {
            writeln!(f, "  {kind:<18}{count:>9}")?;
        }
        if self.port_retries > 0 {
            writeln!(
                f,
                "  {} local ports were taken and another tried",
                self.port_retries
            )?;
        }
        if *faults > 0 {
            writeln!(f, "  {faults} faults, {hangs} of them hangs; the first:")?;
        }
        self.descriptions
            .iter()
            .try_for_each(|line| writeln!(f, "    {line}"))
    }
}

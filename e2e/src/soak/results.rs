//! What a soak came to, for a person, a program and a document.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use sockway_testkit::hops::Hops;

/// What one part came to.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    /// The part's name.
    pub(super) part: &'static str,
    /// Verified at both ends.
    pub(super) connections: u64,
    /// How long it took.
    pub(super) seconds: f64,
    /// Bytes of bodies, both directions.
    pub(super) bytes: u64,
    /// What the datapath counted.
    pub(super) hops: Hops,
}

/// Where it ran, and of what.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    /// Version and commit of `sockway`.
    pub(super) version: String,
    /// Running kernel.
    pub(super) kernel: String,
    /// Processors.
    pub(super) cpus: usize,
    /// Key of everything random.
    pub(super) seed: u64,
    /// Connections at a time.
    pub(super) concurrency: u32,
    /// Most bytes of a connection's direction.
    pub(super) max_size: u32,
}

/// What all came to.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// Where it ran.
    pub(super) facts: Facts,
    /// Or plain, for comparison.
    pub(super) accelerated: bool,
    /// Connections verified at both ends.
    pub(super) verified: u64,
    /// How long it took.
    pub(super) seconds: u64,
    /// Ends that came in late.
    pub(super) joined_late: u64,
    /// How often the node was switched off and on.
    pub(super) switched: u64,
    /// How often the keeper was killed.
    pub(super) killed: u64,
    /// By path and manner.
    pub(super) parts: Vec<Done>,
    /// Parts in which something was wrong, in words.
    pub(super) wrong: Vec<String>,
}

impl Results {
    /// Connections verified at both ends.
    pub(crate) const fn verified(&self) -> u64 {
        self.verified
    }

    /// Ends that came in late.
    pub(crate) const fn joined_late(&self) -> u64 {
        self.joined_late
    }

    const fn mode(&self) -> &'static str {
        if self.accelerated {
            "accelerated"
        } else {
            "plain"
        }
    }

    fn unrest(&self) -> String {
        format!(
            "{} ends came in late, the node was switched off and on {} times, the keeper killed {} times",
            self.joined_late, self.switched, self.killed
        )
    }

    /// Writes `PATH` as JSON and, beside it, `PATH` with `.md` as a document.
    pub(super) fn record(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        fs::write(path, json + "\n").with_context(|| format!("write {}", path.display()))?;
        let document = path.with_extension("md");
        fs::write(&document, self.markdown())
            .with_context(|| format!("write {}", document.display()))
    }

    fn markdown(&self) -> String {
        let Facts {
            version,
            kernel,
            cpus,
            seed,
            concurrency,
            max_size,
        } = &self.facts;
        let mut text = format!(
            "`sockway` {version}, kernel {kernel}, {cpus} processors, seed {seed}, {concurrency} connections \
             at a time, at most {max_size} bytes each way, {}.\n\n\
             | path | connections | MiB | seconds | joined |\n|---|---|---|---|---|\n",
            self.mode()
        );
        for Done {
            part,
            connections,
            seconds,
            bytes,
            hops,
        } in &self.parts
        {
            let shares = hops.0.iter().filter(|hop| hop.local > 0);
            let shares: Vec<_> = shares
                .map(|hop| format!("{} {:.1} %", hop.name, 100.0 * hop.share()))
                .collect();
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {part} | {connections} | {} | {seconds:.0} | {} |",
                bytes >> 20,
                shares.join(", ")
            );
        }
        let _ = writeln!(
            text,
            "\n{} connections verified at both ends in {} s; {} parts in which something was wrong. {}.",
            self.verified,
            self.seconds,
            self.wrong.len(),
            self.unrest()
        );
        for wrong in &self.wrong {
            let _ = writeln!(text, "- {wrong}");
        }
        text
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Done {
            part,
            connections,
            seconds,
            bytes,
            hops,
        } in &self.parts
        {
            let mib = bytes >> 20;
            writeln!(
                f,
                "{part:<32}{connections:>8} connections {mib:>7} MiB {seconds:>7.1} s  {hops}"
            )?;
        }
        self.wrong
            .iter()
            .try_for_each(|wrong| writeln!(f, "WRONG {wrong}"))?;
        writeln!(
            f,
            "{} connections verified at both ends in {} s, {}; {}",
            self.verified,
            self.seconds,
            self.mode(),
            self.unrest()
        )
    }
}

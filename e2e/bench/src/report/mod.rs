//! Raw results as JSON, and what people read: tables, charts, a page.

mod bar;
mod bars;
mod cells;
mod charts;
mod draw;
mod facts;
mod first;
mod headline;
mod html;
mod losses;
mod markdown;
mod wanted;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::results::Sample;
use crate::summary::{Summary, summarise};
use crate::topic::Topic;
use facts::Facts;

/// One run of one topic, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    facts: Facts,
    samples: Vec<Sample>,
}

/// A run, summed up.
struct Topics {
    facts: Facts,
    samples: Vec<Sample>,
    summaries: Vec<Summary>,
}

impl Run {
    /// What was just measured.
    pub(crate) fn new(
        rounds: u32,
        millis: u64,
        concurrency: u32,
        samples: Vec<Sample>,
    ) -> Result<Self> {
        Ok(Self {
            facts: Facts::gather(rounds, millis, concurrency)?,
            samples,
        })
    }

    /// Keeps it, in place of an earlier one of the topic.
    pub(crate) fn save(&self, out: &Path, topic: Topic) -> Result<()> {
        let name = serde_json::to_value(topic)?;
        let path = out.join(format!("{}.json", name.as_str().unwrap_or_default()));
        let text = serde_json::to_string_pretty(self)?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }
}

/// Writes everything that people read from all raw results of a directory.
pub(crate) fn write(out: &Path) -> Result<()> {
    let mut topics = Vec::new();
    for topic in <Topic as clap::ValueEnum>::value_variants() {
        let name = serde_json::to_value(topic)?;
        let path = out.join(format!("{}.json", name.as_str().unwrap_or_default()));
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let run: Run =
            serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        topics.push(Topics {
            summaries: summarise(&run.samples),
            facts: run.facts,
            samples: run.samples,
        });
    }
    if topics.is_empty() {
        bail!("no raw results in {}: run `make bench`", out.display());
    }
    let summaries: Vec<&Summary> = topics.iter().flat_map(|t| &t.summaries).collect();
    let samples: Vec<&Sample> = topics.iter().flat_map(|t| &t.samples).collect();
    let charts = charts::all(&summaries, &samples)?;
    for (name, svg) in &charts {
        keep(out, &format!("{name}.svg"), svg)?;
    }
    let markdown = markdown::markdown(&topics, &summaries, &samples);
    keep(out, "tables.md", &markdown)?;
    keep(
        out,
        "report.html",
        &html::page(&topics, &summaries, &samples, &charts),
    )?;
    let text = format!(
        "{markdown}\nreport: {}\n",
        out.join("report.html").display()
    );
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())
        .context("write to standard output")
}

fn keep(out: &Path, name: &str, text: &str) -> Result<()> {
    let path = out.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

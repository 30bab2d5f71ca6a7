//! Results on standard output: for a person, or as one JSON document.

use std::fmt::Display;
use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::process::READY;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a person.
    Human,
    /// For a program: one JSON document on one line.
    Json,
}

/// Writes a result.
pub fn print(result: &(impl Display + Serialize), format: Format) -> Result<()> {
    let text = match format {
        Format::Human => result.to_string(),
        Format::Json => serde_json::to_string(result)? + "\n",
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")
}

/// Tells whoever started a server that it listens.
pub fn ready() {
    // Nobody may be reading, which is no reason not to serve.
    drop(writeln!(std::io::stdout(), "{READY}"));
}

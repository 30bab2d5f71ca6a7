//! Tables in Markdown, for README.md and docs/benchmarks.md.

use std::fmt::Write as _;

use super::cells::cells;
use super::{Topics, bars, first, headline, losses};
use crate::results::Sample;
use crate::summary::Summary;

const HEAD: [&str; 10] = [
    "what",
    "mode",
    "rate",
    "rate by plain",
    "average",
    "average by plain",
    "median",
    "p99",
    "CPU for each",
    "bytes that no interface saw: outbound / inbound / app",
];

/// Every topic: its table and how it was measured.
pub(super) fn markdown(topics: &[Topics], summaries: &[&Summary], samples: &[&Sample]) -> String {
    let mut text = table(&headline::HEAD, headline::table(summaries));
    text += "\nWhat does not gain:\n\n";
    text += &table(&losses::HEAD, losses::table(summaries));
    for (what, why) in losses::NEVER {
        let _infallible = writeln!(text, "| {what} | | | {why} |");
    }
    text += "\nFrom connect to the first redirected byte:\n\n";
    text += &table(&first::HEAD, first::table(samples));
    text += "\n";
    text += &table(&bars::HEAD, bars::rows(topics));
    text += "\n";
    for Topics {
        facts, summaries, ..
    } in topics
    {
        text += &table(&HEAD, summaries.iter().map(cells));
        let _infallible = writeln!(text, "\n{}\n", facts.sentence());
    }
    text
}

fn table<const N: usize>(head: &[&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: [&str; N]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(*head) + &line([const { "---" }; N]);
    for row in rows {
        text += &line(row.each_ref().map(String::as_str));
    }
    text
}

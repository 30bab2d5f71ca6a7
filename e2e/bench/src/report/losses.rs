//! What does not gain, as prominently as what does.

use super::cells;
use crate::case::Tool;
use crate::mode::Mode;
use crate::summary::Summary;

/// Heads of the table's columns.
pub(super) const HEAD: [&str; 4] = ["what", "rate by plain", "CPU for each by plain", ""];
/// A ratio of rates below which nothing was gained that a user would see.
const GAIN: f64 = 1.05;
/// The same of CPU time, above which more is paid than what a run's noise is.
const PAID: f64 = 1.02;

/// What never takes part, whatever is measured: `(what, why)`.
pub(super) const NEVER: [(&str, &str); 4] = [
    (
        "connections that leave the node",
        "never touched; what they pay is measured (topic tax)",
    ),
    (
        "applications that block in their reads, splice, use io_uring, SO_RCVLOWAT or kTLS",
        "left to TCP: they would notice (docs/limits.md)",
    ),
    (
        "a pod that talks to itself over loopback without its Envoy",
        "no hop of a mesh, left alone",
    ),
    (
        "a machine that is mostly idle",
        "a request costs what waking up costs, and that stays (topic limited)",
    ),
];

/// Every measured row in which the rate is hardly higher, or CPU time is not less.
pub(super) fn table(summaries: &[&Summary]) -> Vec<[String; HEAD.len()]> {
    let measured = summaries
        .iter()
        .filter(|summary| summary.mode == Mode::Auto);
    measured.filter_map(|summary| row(summary)).collect()
}

fn row(summary: &Summary) -> Option<[String; HEAD.len()]> {
    let rate = summary.rate_ratio?;
    let cpu = summary.cpu_ratio.filter(|cpu| cpu.median > 0.0);
    let asked = summary.case.limit > 0;
    let slow = !asked && rate.median < GAIN;
    let dear = cpu.is_some_and(|cpu| cpu.median > PAID);
    let why = match (slow, dear, summary.case.tool.leaves()) {
        (false, false, _) => return None,
        (.., true) => "leaves the node",
        (true, true, _) => "not faster, and more CPU",
        (true, false, _) => "not faster",
        (false, true, _) => "more CPU",
    };
    let held = match summary.case.tool {
        Tool::Held => ": held on TCP by rule",
        _ => "",
    };
    Some([
        summary.case.name(),
        cells::ratio(Some(&rate), false),
        cells::ratio(cpu.as_ref(), false),
        format!("{why}{held}"),
    ])
}

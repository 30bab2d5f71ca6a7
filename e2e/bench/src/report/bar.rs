//! What was to be reached.

use crate::case::Tool;
use crate::jobs::{CROWDED, EMPTY, Topic};
use crate::mode::Mode;

/// One bar: a ratio of two figures of the same round.
#[derive(Clone)]
pub(super) struct Bar {
    /// For the table.
    pub(super) what: String,
    /// What is measured.
    pub(super) topic: Topic,
    /// How.
    pub(super) tool: Tool,
    /// Bytes of a message.
    pub(super) payload: u32,
    /// What is held to it.
    pub(super) mine: Side,
    /// What it is divided by.
    pub(super) by: Side,
    /// What the ratio is to be.
    pub(super) bound: Bound,
}

/// A mode beside so many idle connections and pods.
pub(super) type Side = (Mode, (u32, u32));

#[derive(Clone, Copy)]
pub(super) enum Bound {
    /// Rate, at least.
    Rate(f64),
    /// Average time, at most.
    Average(f64),
    /// Median time, at most.
    Median(f64),
}

const AUTO: Side = (Mode::Auto, EMPTY);
const PLAIN: Side = (Mode::Plain, EMPTY);
const TUPLE: Side = (Mode::Tuple, EMPTY);

/// A topic, a tool, and bytes of a message.
type What = (Topic, Tool, u32);

const TCP: What = (Topic::Echo, Tool::FortioTcp, 1024);
const HTTP: What = (Topic::Echo, Tool::FortioHttp, 1024);
const HOP: What = (Topic::Hop, Tool::Pair, 1024);
const BULK: What = (Topic::Bulk, Tool::Bulk, 256 << 10);
const DIAL: What = (Topic::Connect, Tool::Dial, 64);
const KNOCK: What = (Topic::Connect, Tool::Knock, 64);

/// Every bar.
pub(super) fn bars() -> Vec<Bar> {
    [against_plain(), tax(), yardsticks(), scale()].concat()
}

fn bar(what: &str, of: What, (mine, by): (Side, Side), bound: Bound) -> Bar {
    let (topic, tool, payload) = of;
    Bar {
        what: what.to_owned(),
        topic,
        tool,
        payload,
        mine,
        by,
        bound,
    }
}

fn against_plain() -> Vec<Bar> {
    use Bound::{Average, Rate};
    let sides = (AUTO, PLAIN);
    let unix = (AUTO, (Mode::Unix, EMPTY));
    // What all the rules cost.
    let blind = (AUTO, (Mode::Blind, EMPTY));
    vec![
        bar("TCP echo: requests/s by plain", TCP, sides, Rate(1.57)),
        bar(
            "TCP echo: average latency by plain",
            TCP,
            sides,
            Average(0.64),
        ),
        bar("HTTP echo: requests/s by plain", HTTP, sides, Rate(1.18)),
        bar(
            "HTTP echo: average latency by plain",
            HTTP,
            sides,
            Average(0.85),
        ),
        bar("ping-pong, one hop: rate by AF_UNIX", HOP, unix, Rate(0.95)),
        bar("ping-pong, one hop: rate by blind", HOP, blind, Rate(0.97)),
        bar(
            "one stream, both Envoys: rate by plain",
            BULK,
            sides,
            Rate(2.0),
        ),
        bar(
            "new connections, both Envoys: rate by plain",
            DIAL,
            sides,
            Rate(0.97),
        ),
    ]
}

/// Connections that leave the node.
fn tax() -> Vec<Bar> {
    let cases = [
        ("requests/s", Tool::AwayAsk, 1024, EMPTY),
        ("connections/s", Tool::AwayDial, 64, EMPTY),
        ("one stream", Tool::AwayBulk, 256 << 10, EMPTY),
        ("requests/s", Tool::AwayAsk, 1024, CROWDED),
        ("connections/s", Tool::AwayDial, 64, CROWDED),
    ];
    let bar = |(what, tool, payload, beside)| {
        let what = if beside == EMPTY {
            format!("to another node: {what} by plain")
        } else {
            let (idle, pods) = beside;
            format!("to another node: {what} by plain, beside {idle} connections and {pods} pods")
        };
        let sides = ((Mode::Auto, beside), (Mode::Plain, beside));
        bar(&what, (Topic::Tax, tool, payload), sides, Bound::Rate(0.98))
    };
    cases.map(bar).into()
}

/// The accelerator that others build.
fn yardsticks() -> Vec<Bar> {
    let cases = [
        ("TCP echo", TCP),
        ("HTTP echo", HTTP),
        ("ping-pong, one hop", HOP),
        ("one stream, both Envoys", BULK),
        ("new connections, both Envoys", DIAL),
        ("new connections, one hop", KNOCK),
    ];
    let bar = |(what, of)| {
        let what = format!("{what}: rate by 4-tuple");
        bar(&what, of, (AUTO, TUPLE), Bound::Rate(1.0))
    };
    cases.map(bar).into()
}

/// Flat over connections and pods.
fn scale() -> Vec<Bar> {
    const FEW: (u32, u32) = (10, 10);
    let cases = [
        ("ping-pong", Tool::Pair, 1024),
        ("new connections", Tool::Knock, 64),
    ];
    let many = [(10_000, 250), (60_000, 250), (10, 10_000)];
    let bar = |((what, tool, payload), beside)| {
        let ((idle, pods), (few_idle, few_pods)) = (beside, FEW);
        let what = format!(
            "{what} beside {idle} connections and {pods} pods: median time by that beside {few_idle} and {few_pods}"
        );
        let sides = ((Mode::Auto, beside), (Mode::Auto, FEW));
        bar(
            &what,
            (Topic::Scale, tool, payload),
            sides,
            Bound::Median(1.1),
        )
    };
    let all = cases
        .into_iter()
        .flat_map(|case| many.map(|beside| (case, beside)));
    all.map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::bars;
    use crate::jobs::{Topic, jobs};

    /// A bar whose case no run measures would never be missed.
    #[test]
    fn every_bar_is_measured_by_a_full_run() {
        let topics = <Topic as clap::ValueEnum>::value_variants();
        let jobs = jobs(topics, true, false);
        for bar in bars() {
            for (mode, beside) in [bar.mine, bar.by] {
                let found = jobs.iter().filter(|job| {
                    let case = &job.case;
                    (case.topic, case.tool, case.payload) == (bar.topic, bar.tool, bar.payload)
                        && (case.idle, case.pods) == beside
                        && job.modes.contains(&mode)
                });
                assert_eq!(found.count(), 1, "{}", bar.what);
            }
        }
    }
}

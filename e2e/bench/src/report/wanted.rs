//! Every bar that was set.

use super::bar::{Bar, Bound, Side};
use crate::case::Tool;
use crate::jobs::{CROWDED, EMPTY};
use crate::mode::Mode;
use crate::topic::Topic;

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
const COLD_TCP: What = (Topic::Cold, Tool::PoolTcp, 1024);
const COLD_HTTP: What = (Topic::Cold, Tool::PoolHttp, 1024);
const CHANNEL: What = (Topic::Channel, Tool::Channel, 1024);
const MIRROR: What = (Topic::Bulk, Tool::Mirror, 256 << 10);
const HELD: What = (Topic::Held, Tool::Held, 16 << 10);
const FILES: What = (Topic::Half, Tool::Files, 1024);
const KNOCK: What = (Topic::Connect, Tool::Knock, 64);

/// Every bar.
pub(super) fn bars() -> Vec<Bar> {
    [
        against_plain(),
        starts(),
        by_others(),
        tax(),
        yardsticks(),
        scale(),
    ]
    .concat()
}

fn bar(what: &str, of: What, (mine, by): (Side, Side), bound: Bound) -> Bar {
    let (topic, tool, payload) = of;
    Bar {
        what: what.to_owned(),
        topic,
        tool,
        payload,
        secure: false,
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

/// Cold, and with mutual TLS.
fn starts() -> Vec<Bar> {
    use Bound::{Rate, Share};
    let sides = (AUTO, PLAIN);
    let (warm, cold) = ([TCP, HTTP], [COLD_TCP, COLD_HTTP]);
    let echo = |what: &str, of, least| bar(what, of, sides, Rate(least));
    let mut bars = vec![
        echo("TCP echo, cold: requests/s by plain", cold[0], 1.57),
        echo("HTTP echo, cold: requests/s by plain", cold[1], 1.18),
        echo("TCP echo: requests/s by plain", warm[0], 1.57).secure(),
        echo("HTTP echo: requests/s by plain", warm[1], 1.15).secure(),
        echo("TCP echo, cold: requests/s by plain", cold[0], 1.57).secure(),
        echo("HTTP echo, cold: requests/s by plain", cold[1], 1.15).secure(),
    ];
    let shares = [
        ("TCP echo", COLD_TCP),
        ("HTTP echo", COLD_HTTP),
        ("one gRPC channel", CHANNEL),
    ];
    for (what, of) in shares {
        let what = format!("{what}, cold: bytes no interface saw from the third second on");
        let bar = bar(&what, of, sides, Share(0.95));
        bars.extend([bar.clone(), bar.secure()]);
    }
    bars.push(echo("one stream and back: rate by plain", MIRROR, 2.0));
    bars.push(echo("a direction held on TCP: rate by plain", HELD, 0.97));
    bars.push(echo(
        "HTTP, nginx as server, where FIONREAD is right: requests/s by plain",
        FILES,
        1.15,
    ));
    bars
}

/// Scope auto beside scope all, and beside redirection without a check.
fn by_others() -> Vec<Bar> {
    let cases = [
        ("TCP echo", TCP),
        ("HTTP echo", HTTP),
        ("TCP echo, cold", COLD_TCP),
        ("HTTP echo, cold", COLD_HTTP),
    ];
    let all = (AUTO, (Mode::All, EMPTY));
    let bar = |(what, of)| {
        bar(
            &format!("{what}: rate by scope all"),
            of,
            all,
            Bound::Rate(0.97),
        )
    };
    let bars = cases.map(bar);
    bars.into_iter()
        .flat_map(|bar| [bar.clone(), bar.secure()])
        .collect()
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
    use crate::jobs::jobs;
    use crate::topic::Topic;

    /// A bar whose case no run measures would never be missed.
    #[test]
    fn every_bar_is_measured_by_a_full_run() {
        let topics = <Topic as clap::ValueEnum>::value_variants();
        let jobs = jobs(topics, true, false);
        for bar in bars() {
            for (mode, beside) in [bar.mine, bar.by] {
                let found = jobs.iter().filter(|job| {
                    bar.is_of(&job.case, (mode, beside)) && job.modes.contains(&mode)
                });
                assert_eq!(found.count(), 1, "{}", bar.what);
            }
        }
    }
}

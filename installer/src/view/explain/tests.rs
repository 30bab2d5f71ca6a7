use super::{Connection, End, Finding, findings, lacks};
use crate::cni::CniArgs;
use crate::view::pods::PodState;
use crate::view::state::{Programs, State};
use sockway_common::counters::Reason;
use sockway_common::end::EndRow;
use sockway_common::part::{LeftOut, Part, Switched};
use sockway_common::program::{FIT_READS, ProgramRow, sign};
use sockway_datapath::Pins;
use std::path::Path;

fn known(reads: u64, signs: &[usize]) -> ProgramRow {
    let mut row = ProgramRow {
        reads,
        ..ProgramRow::default()
    };
    for &sign in signs {
        row.signs[sign] = 1;
    }
    row
}

fn new() -> EndRow {
    EndRow {
        why: Reason::Observed as u32,
        ..EndRow::default()
    }
}

fn joined() -> EndRow {
    EndRow {
        joined: 1,
        open: 1,
        ..new()
    }
}

#[test]
fn an_end_lacks_what_keeps_bytes_from_it() {
    let proven = known(FIT_READS, &[]);
    assert!(lacks(&joined(), &proven).is_empty());
    let watched = lacks(&joined(), &known(3, &[])).join("; ");
    assert!(watched.contains("3 of 8"), "{watched}");
    let both = lacks(&joined(), &known(8, &[sign::BLOCKING, sign::FIONREAD]));
    assert_eq!(
        both,
        ["its program's sockets block", "its program asks FIONREAD"]
    );
    let mut short = known(8, &[sign::EDGE]);
    short.shorts = 5;
    assert!(lacks(&joined(), &short)[0].contains("short read"));
    let closed = EndRow {
        open: 0,
        ..joined()
    };
    assert!(lacks(&closed, &proven)[0].contains("came in late"));
    assert!(lacks(&new(), &proven)[0].contains("comes in within seconds"));
    let alone = EndRow { alone: 1, ..new() };
    assert!(lacks(&alone, &proven)[0].contains("the other end is left out"));
    let out = lacks(&new(), &known(3, &[]));
    assert!(out[1].contains("not in the sockhash"), "{out:?}");
}

/// A node on which the programs are attached.
fn node() -> State {
    let cni = CniArgs::under(Path::new("/proc/none"));
    let mut state = State::gather(&Pins::new("/proc/none"), &cni);
    state.datapath = Some(Programs {
        attached: true,
        program_id: None,
        cgroup_id: None,
        limits: Vec::new(),
    });
    state
}

fn pod(scope: &'static str, connections: u64, bytes: (u64, u64)) -> PodState {
    PodState {
        scope,
        connections,
        redirected_bytes: bytes.0,
        tcp_bytes: bytes.1,
        ..PodState::sample()
    }
}

fn open(redirected: u64, received_by_tcp: u64) -> Connection {
    let end = || End {
        address: "10.0.0.1:80".to_owned(),
        programs: Vec::new(),
        joined: true,
        lacks: Vec::new(),
        redirected,
        received_by_tcp,
    };
    Connection {
        hop: "outbound",
        client: end(),
        server: Some(end()),
    }
}

fn says(findings: &[Finding], good: bool, part: &str) -> bool {
    findings
        .iter()
        .any(|f| f.good == good && f.what.contains(part))
}

#[test]
fn scopes_and_shares() {
    let mut state = node();
    let of = |pod: &PodState, open: &[Connection]| findings(&state, Some(pod), open);
    assert!(says(&of(&pod("off", 0, (0, 0)), &[]), false, "scope off"));
    let left_out = PodState {
        why: "left out: percent 10".to_owned(),
        part: Part::without(LeftOut::Percent(10)),
        ..pod("off", 0, (0, 0))
    };
    let found = of(&left_out, &[]);
    assert!(says(&found, false, "left out: percent 10"), "{found:?}");
    let tripped = PodState {
        why: "tripped".to_owned(),
        part: Part {
            switched: Some(Switched::Tripped),
            ..Part::default()
        },
        ..pod("off", 1, (9, 1))
    };
    let found = of(&tripped, &[]);
    let of_trip = found.iter().find(|f| f.what.starts_with("tripped"));
    assert!(
        of_trip.is_some_and(|f| f.remedy.contains("`sockway on --pod`")),
        "{found:?}"
    );
    assert!(says(
        &of(&pod("proxy", 1, (9, 1)), &[]),
        false,
        "inbound port"
    ));
    let good = of(&pod("auto", 3, (9, 1)), &[open(90, 10)]);
    assert!(says(&good, true, "1 open connections, 90.0 %"), "{good:?}");
    assert!(says(&good, true, "3 connections to it, 90.0 %"), "{good:?}");
    let bad = of(&pod("auto", 3, (1, 9)), &[open(1, 99)]);
    assert!(says(&bad, false, "1 open connections, 1.0 %"), "{bad:?}");
    // Watched connections are connections: nobody says that there are none.
    let watched = of(&pod("auto", 0, (0, 0)), &[open(0, 10)]);
    assert!(!says(&watched, false, "no connection"), "{watched:?}");
    // One that only dials has none that were counted: nobody says that there were none.
    let dials = of(&pod("auto", 0, (0, 0)), &[open(90, 10)]);
    assert!(!says(&dials, true, "since it was registered"), "{dials:?}");
    assert!(!says(&dials, false, "since it was registered"), "{dials:?}");
    assert!(says(
        &of(&pod("auto", 0, (0, 0)), &[]),
        false,
        "no connection"
    ));
    assert!(says(&findings(&state, None, &[]), false, "not registered"));
    state.off = true;
    assert!(says(&findings(&state, None, &[]), false, "switched off"));
}

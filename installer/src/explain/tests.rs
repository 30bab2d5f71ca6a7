use super::{Application, Finding, application, findings, of_application};
use crate::figures::Figures;
use crate::options::CniArgs;
use crate::pods::PodState;
use crate::state::{Programs, State};
use sockway_common::addr::IpKey;
use sockway_common::counters::{Reason, Stats};
use sockway_common::pair::ReaderKey;
use sockway_common::reader::{CLIENT, ReaderRow, SERVER, seen};
use sockway_datapath::Pins;

fn key(kind: u32) -> ReaderKey {
    ReaderKey {
        ip: IpKey::from_v4([10, 0, 0, 1]),
        port: 8080,
        kind,
        ..ReaderKey::default()
    }
}

#[test]
fn verdicts() {
    let row = |seen, reads, ends| ReaderRow {
        seen,
        reads,
        ends,
        ..ReaderRow::default()
    };
    let verdict = |seen, reads| application(&key(SERVER), row(seen, reads, 0));
    assert_eq!(verdict(seen::FIT, 8).verdict, "fit");
    assert_eq!(verdict(0, 3).verdict, "watched");
    let unfit = verdict(seen::FIT | seen::BLOCKING | seen::FIONREAD, 8);
    assert_eq!(unfit.verdict, "unfit");
    assert_eq!(unfit.why, ["its sockets block", "it asks FIONREAD"]);
    let edge = seen::FIT | seen::EDGE;
    assert_eq!(verdict(edge, 8).verdict, "watched");
    let short = ReaderRow {
        shorts: 1,
        ..row(edge, 8, 0)
    };
    assert_eq!(application(&key(SERVER), short).verdict, "unfit");
    assert_eq!(
        application(&key(SERVER), row(edge, 8, 8)).verdict,
        "fit",
        "it reads to the end"
    );
    let finding = of_application(&unfit);
    assert!(
        !finding.good && finding.what.contains("10.0.0.1 port 8080"),
        "{finding:?}"
    );
    let client = application(&key(CLIENT), ReaderRow::default());
    assert!(matches!(client, Application { kind: "client", .. }));
    assert!(of_application(&client).what.contains("connections to"));
}

/// A node on which the programs are attached, with what they counted.
fn node(counted: &Stats) -> State {
    let cni = CniArgs {
        cni_bin_dir: "/proc/none".into(),
        cni_conf_dir: "/proc/none".into(),
        conf_name: "auto".to_owned(),
    };
    let mut state = State::gather(&Pins::new("/proc/none"), &cni);
    state.datapath = Some(Programs {
        attached: true,
        program_id: None,
        cgroup_id: None,
        limits: Vec::new(),
    });
    state.figures = Some(Figures::from(counted));
    state
}

fn pod(scope: &'static str, connections: u64, bytes: (u64, u64)) -> PodState {
    PodState {
        namespace: "shop".to_owned(),
        name: "cart-0".to_owned(),
        ips: Vec::new(),
        scope,
        outbound_port: 15001,
        inbound_port: 15006,
        since_unix_s: 0,
        container_id: "c".to_owned(),
        ifname: "eth0".to_owned(),
        netns_inode: 1,
        connections,
        redirected_messages: 0,
        redirected_bytes: bytes.0,
        tcp_messages: 0,
        tcp_bytes: bytes.1,
    }
}

fn says(findings: &[Finding], good: bool, part: &str) -> bool {
    findings
        .iter()
        .any(|f| f.good == good && f.what.contains(part))
}

#[test]
fn every_reason_is_named_with_what_it_counts_and_means() {
    let pod = pod("auto", 2, (10, 0));
    let silent = findings(&node(&Stats::default()), Some(&pod), &[]);
    for reason in Reason::ALL {
        let mut stats = Stats::default();
        stats.left[reason as usize] = 3;
        stats.tcp_messages[reason as usize] = 1_234;
        let all = findings(&node(&stats), Some(&pod), &[]);
        let line = format!(
            "{}: 3 connections, 1,234 messages ({})",
            reason.name(),
            reason.help()
        );
        assert!(says(&all, false, &line), "{reason:?}: {all:?}");
        assert_eq!(
            all.len(),
            silent.len() + 1,
            "only what was counted: {all:?}"
        );
    }
}

#[test]
fn scopes_and_shares() {
    let state = node(&Stats::default());
    let of = |pod: &PodState| findings(&state, Some(pod), &[]);
    assert!(says(&of(&pod("off", 0, (0, 0))), false, "scope off"));
    assert!(says(&of(&pod("proxy", 1, (9, 1))), false, "between Envoys"));
    let good = of(&pod("auto", 3, (9, 1)));
    assert!(says(&good, true, "3 connections joined, 90"), "{good:?}");
    assert!(says(
        &of(&pod("auto", 3, (1, 9))),
        false,
        "3 connections joined"
    ));
    assert!(says(
        &of(&pod("auto", 0, (0, 0))),
        false,
        "no connection was joined yet"
    ));
    assert!(says(&findings(&state, None, &[]), false, "not registered"));
}

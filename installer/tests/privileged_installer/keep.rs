//! `sockway run`: repairs, readiness, leaving.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread::sleep;
use std::time::Duration;

use sockway_common::layout::program;
use sockway_testkit::needs;

use super::keeper::{Keeper, metric, page, until};
use super::node::{CONFLIST, Node};
use super::traffic::{Connection, edge_triggered};

#[test]
fn drift_is_repaired() {
    let node = needs!(Node::new("drift_is_repaired"));
    node.cache_pod();
    let keeper = Keeper::start(&node);
    assert!(node.has_entry());
    assert_eq!(
        metric("sockway_pods"),
        1,
        "the pod that was there before is registered"
    );
    assert!(node.run(&["uninstall"], 1).contains("sockway run"));
    let (two, ten) = (Duration::from_secs(2), Duration::from_secs(10));

    // terwayd truncates and writes at every start.
    fs::write(node.conflist(), "").unwrap();
    sleep(Duration::from_millis(300));
    assert_eq!(node.text(), "", "an empty file is left to its owner");
    fs::write(node.conflist(), CONFLIST).unwrap();
    until("the entry is back", two, || node.has_entry());

    fs::remove_file(node.plugin()).unwrap();
    until("the binary is back", two, || node.plugin().exists());
    fs::write(node.path("bin/other"), "#!/bin/sh\n").unwrap();
    fs::rename(node.path("bin/other"), node.plugin()).unwrap();
    until("the binary is ours", two, || {
        fs::metadata(node.plugin()).unwrap().len() > 1000
    });

    sockway_datapath::Datapath::remove(&node.pins()).unwrap();
    until("programs and pod are back", ten, || {
        node.pins().dir().exists() && metric("sockway_pods") == 1
    });
    let mut connection = Connection::open();
    connection.echo();
    until("it is joined", two, || {
        metric("sockway_connections_joined_total{hop=\"inbound\"}") == 1
    });

    let inode = fs::metadata(node.conflist()).unwrap().ino();
    let repairs = || metric("sockway_repairs_total{what=\"conflist\"}");
    let before = repairs();
    sleep(Duration::from_secs(2));
    assert_eq!(
        repairs(),
        before,
        "nothing is written where nothing changed"
    );
    assert_eq!(fs::metadata(node.conflist()).unwrap().ino(), inode);
    assert!(page("/healthz").unwrap().contains("200 OK"));

    keeper.stop();
    assert!(
        node.has_entry() && node.pins().dir().exists(),
        "the node stays as it is"
    );
    connection.echo();
    drop(connection);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn receiving_calls_of_a_quiet_node_run_no_program() {
    let node = needs!(Node::new("receiving_calls"));
    node.cache_pod();
    let keeper = Keeper::start_with(&node, &["--scope", "auto"]);
    let pins = node.pins();
    assert!(
        pins.program(program::ENDS).exists(),
        "this kernel has the tracepoint"
    );
    let seen = || pins.link(program::ENDS).exists();
    until("the hook is off", Duration::from_secs(20), || !seen());
    edge_triggered(10);
    until("the hook is back", Duration::from_secs(3), seen);
    until("it is off again", Duration::from_secs(20), || !seen());
    assert_eq!(
        metric("sockway_drift_total{what=\"programs\"}"),
        1,
        "of the start"
    );
    keeper.stop();
    assert!(seen(), "nobody would put it back");
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn a_node_that_is_not_ready_yet() {
    let node = needs!(Node::new("a_node_that_is_not_ready_yet"));
    fs::remove_file(node.conflist()).unwrap();
    let keeper = Keeper::spawn(&node);
    until("it says why it waits", Duration::from_secs(30), || {
        page("/readyz").is_some_and(|answer| answer.contains("no CNI configuration"))
    });
    fs::write(node.conflist(), CONFLIST).unwrap();
    until("the entry is there", Duration::from_secs(3), || {
        node.has_entry()
    });
    until("it is ready", Duration::from_secs(3), || {
        page("/readyz").is_some_and(|answer| answer.contains("200 OK"))
    });
    keeper.stop();
    node.run(&["uninstall", "--purge"], 0);
}

/// Whether a process puts programs in place for a keeper.
fn loads_for(keeper: u32) -> bool {
    let option = format!("--programs-for\0{keeper}\0");
    let all = fs::read_dir("/proc").unwrap().flatten();
    let mut lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(&option))
}

/// Else it would pin programs beside whoever has the node next.
#[test]
fn what_loads_programs_ends_with_a_keeper_that_is_killed() {
    let node = needs!(Node::new("what_loads_programs_ends"));
    for _ in 0..3 {
        let keeper = Keeper::spawn(&node);
        let id = keeper.id();
        let (start, end) = (Duration::from_secs(20), Duration::from_millis(100));
        until("it loads programs", start, || loads_for(id));
        drop(keeper);
        until("nobody does for it", end, || !loads_for(id));
        node.run(&["uninstall"], 0);
        assert!(!node.pins().root().exists(), "uninstall left pins");
    }
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

//! Programs replaced in place under running traffic.

use std::process::Stdio;

use sockway_testkit::needs;

use super::ids::Ids;
use super::node::Node;
use super::traffic::Connection;

#[test]
fn twenty_upgrades_under_traffic() {
    let node = needs!(Node::new("twenty_upgrades"));
    node.run(&["install"], 0);
    node.cni("ADD");
    let mut connections = vec![Connection::open()];
    for upgrade in 0..20 {
        let mut install = node.sockway(&["install", "--quiet"]);
        let mut install = install.stdout(Stdio::null()).spawn().unwrap();
        let mut rounds = 0;
        while install.try_wait().unwrap().is_none() || rounds < 10 {
            connections.iter_mut().for_each(Connection::echo);
            rounds += 1;
        }
        assert!(install.wait().unwrap().success(), "upgrade {upgrade}");
        // Connections of every version of the programs live side by side.
        connections.push(Connection::open());
        connections.iter_mut().for_each(Connection::echo);
    }
    let status = node.json(&["status"], 0);
    assert_eq!(status["connections"], 21);
    assert_eq!(status["figures"]["total"]["joined"], 21);
    let ids = Ids::of(&node);
    drop(connections);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
    ids.assert_gone();
}

#[test]
fn an_older_layout_drains() {
    another_layout_drains("an_older_layout_drains", "v0");
}

/// As after a down-grade.
#[test]
fn a_newer_layout_drains() {
    another_layout_drains("a_newer_layout_drains", "v99");
}

fn another_layout_drains(test: &str, name: &str) {
    let node = needs!(Node::new(test));
    node.cache_pod();
    node.run(&["install"], 0);
    let mut old = Connection::open();
    old.echo();
    // What a version with another layout would find.
    let other = node.path("bpf/sockway").join(name);
    std::fs::rename(node.pins().dir(), &other).unwrap();
    let report = node.json(&["install"], 0);
    assert_eq!(report["retired"][0]["layout"], name);
    assert_eq!(report["retired"][0]["sockets_left"], 2);
    let mut new = Connection::open();
    for _ in 0..20 {
        old.echo();
        new.echo();
    }
    let status = node.json(&["status"], 0);
    assert_eq!(status["connections"], 1, "the old one is the old layout's");
    assert_eq!(status["other_layouts"][0], name);
    drop(old);
    let report = node.json(&["install"], 0);
    assert_eq!(report["retired"].as_array().unwrap().len(), 0);
    assert!(!other.exists());
    new.echo();
    drop(new);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

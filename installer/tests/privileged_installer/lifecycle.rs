//! Install, a pod, traffic, status, uninstall.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use sockway_testkit::needs;

use super::ids::Ids;
use super::node::{CONFLIST, Node, text};
use super::traffic::Connection;

#[test]
fn a_whole_life() {
    let node = needs!(Node::new("a_whole_life"));
    assert_eq!(
        node.json(&["status"], 3)["datapath"],
        serde_json::Value::Null
    );

    let report = node.json(&["install"], 0);
    assert_eq!(report["conflists"][0]["written"], "changed");
    assert!(node.has_entry());
    let inodes = || [node.conflist(), node.plugin()].map(|p| fs::metadata(p).unwrap().ino());
    let before = inodes();
    let again = node.json(&["install"], 0);
    assert_eq!(again["conflists"][0]["written"], "unchanged");
    assert_eq!(again["replaced"], true);
    assert_eq!(
        inodes(),
        before,
        "nothing is written that is as it should be"
    );

    node.cni("ADD");
    let pods = node.json(&["pods"], 0);
    assert_eq!(pods[0]["name"], "cart-0");
    assert_eq!(pods[0]["ips"][0], "10.9.0.1");
    let mut connection = Connection::open();
    for _ in 0..100 {
        connection.echo();
    }
    let status = node.json(&["status"], 0);
    assert_eq!(status["pods"], 1);
    assert_eq!(status["connections"], 1);
    assert_eq!(status["figures"]["hops"][1]["hop"], "inbound");
    assert_eq!(status["figures"]["hops"][1]["joined"], 1);
    assert!(node.run(&["status"], 0).contains("1 accelerated now"));

    let ids = Ids::of(&node);
    let pods = node.json(&["pods"], 0);
    let redirected = pods[0]["redirected_bytes"].as_u64().unwrap();
    assert!(redirected > 100 * 1024, "{redirected} bytes redirected");

    // DEL comes from a configuration that the runtime kept, after the entry is gone.
    node.cni("DEL");
    assert_eq!(node.json(&["pods"], 0).as_array().unwrap().len(), 0);
    // A live connection goes on, by TCP.
    let report = node.json(&["uninstall"], 0);
    assert_eq!(report["removed"], true);
    assert_eq!(node.text(), CONFLIST);
    connection.echo();
    drop(connection);
    node.assert_gone(&["sockway-cni"]);
    ids.assert_gone();
    node.cni("DEL");
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
    node.run(&["uninstall"], 0);
    node.run(&["status"], 3);
    node.run(&["status", "--gone"], 0);
    node.run(&["pods"], 3);
}

#[test]
fn a_pod_that_was_there_before() {
    let node = needs!(Node::new("a_pod_that_was_there_before"));
    node.cache_pod();
    let report = node.json(&["install"], 0);
    assert_eq!(report["pods"]["registered"][0], "shop/cart-0");
    let mut connection = Connection::open();
    connection.echo();
    assert_eq!(node.json(&["status"], 0)["figures"]["total"]["joined"], 1);
    assert_eq!(
        node.json(&["reconcile"], 0)["registered"]
            .as_array()
            .unwrap()
            .len(),
        0
    );

    // The pins go; the pod stays.
    drop(connection);
    sockway_datapath::Datapath::remove(&node.pins()).unwrap();
    let report = node.json(&["install", "--quiet"], 0);
    assert_eq!(report["pods"]["registered"][0], "shop/cart-0");
    // A cache row whose address the namespace does not have is another pod's.
    let path = node.path("results/terway-chainer-c0ffee-eth0");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("10.9.0.1/32", "10.9.0.2/32")).unwrap();
    let report = node.json(&["reconcile", "--all"], 1);
    assert!(report["failed"][0].as_str().unwrap().contains("10.9.0.2"));
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn a_host_without_cgroup2() {
    let node = needs!(Node::new("a_host_without_cgroup2"));
    let install = node.sockway(&["install", "-o", "json"]);
    let mut shell = Command::new("unshare");
    // A mount namespace of its own, from which every cgroup2 mount is taken away.
    shell.args(["--mount", "/bin/sh", "-ec"]).arg(
        "awk '$3 == \"cgroup2\" { print $2 }' /proc/self/mounts | while read -r at; do umount -l $at; done
        \"$0\" install -o json
        test -e \"$SOCKWAY_RUN_DIR/cgroup2/cgroup.procs\"
        \"$0\" uninstall --purge >&2
        test ! -e \"$SOCKWAY_RUN_DIR\"",
    );
    shell.arg(install.get_program());
    shell.envs(
        install
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let output = shell.env("SOCKWAY_CGROUP", "auto").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["mounted"], true);
    node.assert_gone(&[]);
}

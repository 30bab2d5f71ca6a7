//! Reboots: pins, run directory and every pod are gone; conflist, binary and libcni's cache are not.

use std::collections::BTreeSet;
use std::fs;

use sockway_datapath::Datapath;
use sockway_testkit::needs;

use super::keeper::Keeper;
use super::node::{Node, repeat};
use super::pod::Pod;

/// What a power cut or a reboot leaves of an installation: what is on disk.
pub(crate) fn wipe(node: &Node) {
    Datapath::remove(&node.pins()).unwrap();
    if node.path("run").exists() {
        fs::remove_dir_all(node.path("run")).unwrap();
    }
}

fn registered(node: &Node) -> BTreeSet<(String, String)> {
    let pods = node.json(&["pods"], 0);
    let pods = pods.as_array().unwrap().iter();
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    // One whose address a younger pod has by now holds none.
    pods.filter(|pod| !pod["ips"].as_array().unwrap().is_empty())
        .map(|pod| (word(&pod["container_id"]), word(&pod["ips"][0])))
        .collect()
}

#[test]
fn the_registered_set_is_that_of_the_live_pods() {
    let node = needs!(Node::new("the_registered_set"));
    node.run(&["install"], 0);
    let mut pods: Vec<Pod> = Vec::new();
    for reboot in 0..repeat(6, 100) {
        wipe(&node);
        // Of half of the dead pods the runtime has not cleared its notes yet.
        for pod in pods.drain(..).step_by(2) {
            fs::remove_file(node.cached(&pod.attachment)).unwrap();
        }
        // Pods that come back before Sockway does: other ids, the same few addresses.
        for n in 0..2 + reboot % 3 {
            let pod = Pod::start(&node, &format!("r{reboot}p{n}"), &format!("10.8.0.{n}"));
            // The entry is in the conflist and the binary is there: ADD must not fail.
            node.call("ADD", &pod.attachment);
            node.cache(&pod.attachment);
            pods.push(pod);
        }
        let keeper = (reboot % 2 == 0).then(|| Keeper::start(&node));
        if keeper.is_none() {
            node.run(&["install"], 0);
        }
        let later = Pod::start(&node, &format!("r{reboot}later"), "10.8.0.9");
        node.call("ADD", &later.attachment);
        node.cache(&later.attachment);
        pods.push(later);
        let live = pods.iter().map(|pod| &pod.attachment);
        let live: BTreeSet<_> = live.map(|a| (a.id.clone(), a.ip.clone())).collect();
        assert_eq!(registered(&node), live, "reboot {reboot}");
        if let Some(keeper) = keeper {
            keeper.stop();
        }
    }
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

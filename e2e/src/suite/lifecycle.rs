//! install, ADD, traffic, status, DEL, uninstall.

use std::fs;

use anyhow::{Context, Result, ensure};
use sockway_common::addr::IpKey;
use sockway_datapath::{Datapath, Registry};

use super::check::{chain, succeeded};
use super::{Case, Stage};
use crate::bed::node::{Attachment, Node};

/// Exit code of `sockway status` where nothing is installed.
const NOT_INSTALLED: i32 = 3;
const PLUGIN: &str = "sockway-cni";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "lifecycle/install_and_uninstall_leave_the_node_as_it_was",
            run: round_trip,
        },
        Case {
            name: "lifecycle/everything_works_twice",
            run: twice,
        },
        Case {
            name: "lifecycle/install_again_changes_nothing",
            run: idempotent,
        },
        Case {
            name: "lifecycle/add_registers_and_del_takes_out",
            run: add_del,
        },
        Case {
            name: "lifecycle/del_twice_and_without_a_namespace",
            run: del_twice,
        },
        Case {
            name: "lifecycle/del_after_uninstall",
            run: del_after_uninstall,
        },
        Case {
            name: "lifecycle/late_del_leaves_the_addresses_next_owner",
            run: late_del,
        },
        Case {
            name: "lifecycle/pods_older_than_the_install",
            run: older_pods,
        },
        Case {
            name: "lifecycle/status_before_and_after",
            run: status,
        },
        Case {
            name: "lifecycle/plain_after_detach",
            run: detached,
        },
        Case {
            name: "lifecycle/check_holds",
            run: check_verb,
        },
    ]
}

/// What is registered of a pod's addresses.
fn registered(node: &Node, pod: &Attachment) -> Result<usize> {
    let registry = Registry::open(&node.pins())?;
    let rows = pod
        .ips
        .iter()
        .map(|ip| Ok(registry.pod(&IpKey::from(*ip))?.is_some()));
    Ok(rows
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(|there| *there)
        .count())
}

fn installed(stage: &Stage) -> Result<Node> {
    let node = Node::new(&stage.tools)?;
    node.install()?;
    Ok(node)
}

fn pod(node: &Node) -> Result<Attachment> {
    node.add(&node.make_netns("pod")?)
}

fn round_trip(stage: &Stage) -> Result<()> {
    let node = Node::new(&stage.tools)?;
    let before = fs::read(node.conflist_path())?;
    node.install()?;
    let conflist = node.read_conflist()?;
    ensure!(
        chain(&conflist)?.contains(&PLUGIN),
        "no entry in {conflist}"
    );
    ensure!(
        node.scratch.path("bin").join(PLUGIN).is_file(),
        "the plugin was not copied"
    );
    ensure!(node.pins().dir().is_dir(), "nothing is pinned");
    node.uninstall()?;
    ensure!(
        fs::read(node.conflist_path())? == before,
        "the conflist's bytes changed"
    );
    ensure!(!node.bpffs().exists(), "pins are left");
    let names: Vec<_> = fs::read_dir(node.scratch.path("net.d"))?
        .flatten()
        .map(|e| e.file_name())
        .collect();
    ensure!(
        names.len() == 1,
        "files are left beside the conflist: {names:?}"
    );
    ensure!(
        node.scratch.path("bin").join(PLUGIN).is_file(),
        "the plugin must stay, to answer DEL"
    );
    succeeded(&node.sockway(&["uninstall", "--purge"]).ended()?)?;
    ensure!(
        !node.scratch.path("bin").join(PLUGIN).exists(),
        "--purge left the plugin"
    );
    Ok(())
}

fn twice(stage: &Stage) -> Result<()> {
    let node = Node::new(&stage.tools)?;
    let before = fs::read(node.conflist_path())?;
    for round in 0..2 {
        node.install()?;
        let pod = pod(&node)?;
        ensure!(
            registered(&node, &pod)? == 2,
            "round {round}: not registered"
        );
        node.del(&pod.netns)?;
        node.remove_netns("pod")?;
        node.uninstall()?;
        ensure!(
            fs::read(node.conflist_path())? == before,
            "round {round}: the conflist changed"
        );
    }
    Ok(())
}

fn idempotent(stage: &Stage) -> Result<()> {
    let node = installed(stage)?;
    let pod = pod(&node)?;
    let before = fs::read(node.conflist_path())?;
    let modified = fs::metadata(node.conflist_path())?.modified()?;
    node.install()?;
    ensure!(
        fs::read(node.conflist_path())? == before,
        "the conflist changed"
    );
    ensure!(
        fs::metadata(node.conflist_path())?.modified()? == modified,
        "it was written again"
    );
    ensure!(
        registered(&node, &pod)? == 2,
        "the pod's registration did not survive"
    );
    Ok(())
}

fn add_del(stage: &Stage) -> Result<()> {
    let node = installed(stage)?;
    let pod = pod(&node)?;
    ensure!(
        registered(&node, &pod)? == 2,
        "both addresses must be registered: {:?}",
        pod.ips
    );
    let version = &pod.result["cniVersion"];
    ensure!(version == "1.0.0", "the result's cniVersion is {version}");
    let interfaces = pod.result["interfaces"].as_array().map_or(0, Vec::len);
    ensure!(
        interfaces >= 2,
        "prevResult was not passed on whole: {}",
        pod.result
    );
    node.del(&pod.netns)?;
    ensure!(
        registered(&node, &pod)? == 0,
        "addresses are left after DEL"
    );
    Ok(())
}

fn del_twice(stage: &Stage) -> Result<()> {
    let node = installed(stage)?;
    let pod = pod(&node)?;
    node.del(&pod.netns)?;
    node.del(&pod.netns).context("the second DEL")?;
    Ok(())
}

/// The runtime may call DEL long after `sockway uninstall`, from the list it keeps in memory.
fn del_after_uninstall(stage: &Stage) -> Result<()> {
    let node = installed(stage)?;
    let with_entry = node.read_conflist()?;
    let pod = pod(&node)?;
    node.uninstall()?;
    node.write_conflist(&with_entry)?;
    node.del(&pod.netns)
}

/// An address goes to another pod before DEL of the first one comes.
fn late_del(stage: &Stage) -> Result<()> {
    let node = installed(stage)?;
    let first = pod(&node)?;
    for lease in fs::read_dir(node.scratch.path("ipam").join(node.scratch.name()))? {
        fs::remove_file(lease?.path()).context("take an address back")?;
    }
    let second = node.add(&node.make_netns("other")?)?;
    ensure!(
        first.ips == second.ips,
        "the second pod must get the first one's addresses, not {:?}",
        second.ips
    );
    node.del(&first.netns)?;
    ensure!(
        registered(&node, &second)? == 2,
        "the late DEL took the second pod's rows"
    );
    node.del(&second.netns)?;
    ensure!(
        registered(&node, &second)? == 0,
        "addresses are left after DEL"
    );
    Ok(())
}

fn older_pods(stage: &Stage) -> Result<()> {
    let node = Node::new(&stage.tools)?;
    let pod = pod(&node)?;
    let said = node.install()?;
    ensure!(
        registered(&node, &pod)? == 2,
        "a pod older than the install is not registered: {said}"
    );
    node.del(&pod.netns)?;
    ensure!(
        registered(&node, &pod)? == 0,
        "addresses are left after DEL"
    );
    Ok(())
}

fn status(stage: &Stage) -> Result<()> {
    let node = Node::new(&stage.tools)?;
    let before = node.sockway(&["status"]).ended()?;
    ensure!(
        before.code == Some(NOT_INSTALLED),
        "exit code {:?} before install: {before:?}",
        before.code
    );
    node.install()?;
    let pod = pod(&node)?;
    let text = node.sockway(&["status"]).ended()?;
    ensure!(
        succeeded(&text)?.contains("attached"),
        "does not say attached: {text:?}"
    );
    let pods = node.sockway(&["pods"]).output()?;
    for ip in pod.ips {
        ensure!(pods.contains(&ip.to_string()), "{ip} is not listed: {pods}");
    }
    node.uninstall()?;
    let after = node.sockway(&["status"]).ended()?;
    ensure!(
        after.code == Some(NOT_INSTALLED),
        "exit code {:?} after uninstall",
        after.code
    );
    Ok(())
}

/// A node whose programs were taken off says so.
fn detached(stage: &Stage) -> Result<()> {
    let node = installed(stage)?;
    Datapath::detach(&node.pins())?;
    let status = node.sockway(&["status"]).ended()?;
    ensure!(
        status.code != Some(0),
        "status finds nothing wrong: {status:?}"
    );
    node.install()?;
    succeeded(&node.sockway(&["status"]).ended()?)?;
    Ok(())
}

fn check_verb(stage: &Stage) -> Result<()> {
    let node = installed(stage)?;
    let pod = pod(&node)?;
    succeeded(&node.cni("check", &pod.netns)?)?;
    Ok(())
}

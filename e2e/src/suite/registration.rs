//! ADD, DEL and CHECK through a real chain: what is registered afterwards.

use std::fs;

use anyhow::{Context, Result, ensure};
use sockway_common::addr::IpKey;
use sockway_datapath::Registry;
use sockway_testkit::mesh::node::{Attachment, Node};

use super::check::succeeded;
use super::{Case, Stage};

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "registration/add_registers_and_del_takes_out": add_del;
        "registration/del_twice_and_without_a_namespace": del_twice;
        "registration/del_after_uninstall": del_after_uninstall;
        "registration/late_del_leaves_the_addresses_next_owner": late_del;
        "registration/pods_older_than_the_install": older_pods;
        "registration/check_holds": check_verb;
    }
}

/// What is registered of a pod's addresses.
pub(crate) fn registered(node: &Node, pod: &Attachment) -> Result<usize> {
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

/// A node with Sockway.
pub(crate) fn installed(stage: &Stage) -> Result<Node> {
    let node = Node::new(&stage.tools)?;
    node.install()?;
    Ok(node)
}

/// A pod on a node.
pub(crate) fn pod(node: &Node) -> Result<Attachment> {
    node.add(&node.make_netns("pod")?)
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
    del(&node, &pod)?;
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
    for lease in fs::read_dir(node.leases())? {
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
    del(&node, &second)?;
    Ok(())
}

/// DEL, after which nothing is registered.
fn del(node: &Node, pod: &Attachment) -> Result<()> {
    node.del(&pod.netns)?;
    ensure!(registered(node, pod)? == 0, "addresses are left after DEL");
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
    del(&node, &pod)?;
    Ok(())
}

fn check_verb(stage: &Stage) -> Result<()> {
    let node = installed(stage)?;
    let pod = pod(&node)?;
    succeeded(&node.cni("check", &pod.netns)?)?;
    Ok(())
}

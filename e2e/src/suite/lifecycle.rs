//! install, status, uninstall: what they leave on the node.

use std::fs;

use anyhow::{Result, ensure};
use sockway_datapath::Datapath;
use sockway_testkit::mesh::node::Node;

use super::check::{chain, succeeded};
use super::registration::{installed, pod, registered};
use super::{Case, Stage};

/// Exit code of `sockway status` where nothing is installed.
const NOT_INSTALLED: i32 = 3;
const PLUGIN: &str = "sockway-cni";

/// After an uninstall: `status` says so, and no pins are there.
pub(crate) fn nothing_is_left(node: &Node) -> Result<()> {
    let status = node.sockway(&["status"]).ended()?;
    ensure!(
        status.code == Some(NOT_INSTALLED),
        "status after uninstall: {status:?}"
    );
    ensure!(!node.bpffs().exists(), "pins are left");
    Ok(())
}

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "lifecycle/install_and_uninstall_leave_the_node_as_it_was": round_trip;
        "lifecycle/everything_works_twice": twice;
        "lifecycle/install_again_changes_nothing": idempotent;
        "lifecycle/status_before_and_after": status;
        "lifecycle/plain_after_detach": detached;
    }
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

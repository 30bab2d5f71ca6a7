//! A node on which the maps are not there, or are another version's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Cases, registered};
use crate::chains::{Chain, Families, Kind};
use crate::drivers::{Answer, Call, Driver, Verb};
use crate::node::Node;
use crate::pod::Pod;

pub(super) fn cases(cases: &mut Cases<'_>) {
    cases.case("trouble/after-a-reboot", reboot);
    cases.case("trouble/without-bpffs", no_bpffs);
    cases.case("trouble/another-layout", other_layout);
    cases.case("trouble/strict-without-maps", strict);
}

fn restore(node: &Node) -> Result<()> {
    node.sockway(&["install"]).done().context("sockway install")
}

fn bridge(node: &Node) -> Result<Chain> {
    Chain::reference(node, Kind::Bridge, Families::Dual, "1.1.0")
}

fn call(node: &Node, chain: &Chain, verb: Verb, pod: &Pod) -> Result<Answer> {
    Driver::Libcni.call(node, chain, &Call::new(verb, pod))
}

/// ADD, CHECK and DEL of a new pod go through although nothing can be
/// registered; so does a GC that keeps the old one.
fn lives(node: &Node, chain: &Chain, old: &Pod) -> Result<()> {
    let pod = Pod::new()?;
    for verb in [Verb::Add, Verb::Check, Verb::Check, Verb::Del, Verb::Del] {
        call(node, chain, verb, &pod)?
            .ok()
            .with_context(|| verb.name())?;
    }
    let gc = Call {
        valid: vec![old],
        ..Call::new(Verb::Gc, &pod)
    };
    Driver::Libcni.call(node, chain, &gc)?.ok().context("GC")?;
    Ok(())
}

fn reboot(node: &Node) -> Result<()> {
    let chain = bridge(node)?;
    let old = Pod::new()?;
    registered(node, &call(node, &chain, Verb::Add, &old)?.ok()?, 2)?;
    node.forget_maps()?;
    let result: Result<()> = (|| {
        call(node, &chain, Verb::Status, &old)?.fails(50, "sockway is not available")?;
        lives(node, &chain, &old)?;
        // What was added before the reboot.
        call(node, &chain, Verb::Del, &old)?.ok()?;
        call(node, &chain, Verb::Del, &old)?.ok()?;
        Ok(())
    })();
    restore(node)?;
    result?;
    call(node, &chain, Verb::Status, &old)?.ok()?;
    let new = Pod::new()?;
    registered(node, &call(node, &chain, Verb::Add, &new)?.ok()?, 2)?;
    call(node, &chain, Verb::Del, &new)?.ok()?;
    Ok(())
}

fn no_bpffs(node: &Node) -> Result<()> {
    let chain = bridge(node)?;
    node.unmount_bpffs()?;
    let result: Result<()> = (|| {
        let pod = Pod::new()?;
        call(node, &chain, Verb::Status, &pod)?.fails(50, "sockway is not available")?;
        lives(node, &chain, &pod)
    })();
    node.mount_bpffs()?;
    restore(node)?;
    result
}

fn other_layout(node: &Node) -> Result<()> {
    let chain = bridge(node)?;
    let old = Pod::new()?;
    registered(node, &call(node, &chain, Verb::Add, &old)?.ok()?, 2)?;
    let (ours, other) = (node.pins().dir(), node.bpffs().join("v9"));
    rename(&ours, &other)?;
    let result: Result<()> = (|| {
        call(node, &chain, Verb::Status, &old)?.fails(51, "sockway is limited")?;
        call(node, &chain, Verb::Status, &old)?.fails(51, "v9")?;
        lives(node, &chain, &old)
    })();
    rename(&other, &ours)?;
    result?;
    call(node, &chain, Verb::Check, &old)?.ok()?;
    call(node, &chain, Verb::Del, &old)?.ok()?;
    Ok(())
}

/// With `strict` a pod that cannot be registered is not made, and still goes away.
fn strict(node: &Node) -> Result<()> {
    let chain = bridge(node)?.strict()?;
    node.forget_maps()?;
    let result: Result<()> = (|| {
        let pod = Pod::new()?;
        call(node, &chain, Verb::Add, &pod)?.fails(100, "sockway is not installed")?;
        // The runtime's answer to a failed ADD.
        for _ in 0..2 {
            call(node, &chain, Verb::Del, &pod)?.ok()?;
        }
        Ok(())
    })();
    restore(node)?;
    result
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("rename {} to {}", from.display(), to.display()))
}

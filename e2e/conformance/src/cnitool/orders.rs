//! Every order in which a runtime may call, by libcni with the runtime's own ids.

use std::fs;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};

use super::{Cases, registered};
use crate::chains::{Chain, Families, Kind};
use crate::drivers::{Answer, Call, Driver, Verb};
use crate::node::Node;
use crate::pod::Pod;

pub(super) fn cases(cases: &mut Cases<'_>) {
    cases.case("orders/del-without-add", del_without_add);
    cases.case("orders/del-twice", del_twice);
    cases.case("orders/del-with-an-empty-netns", empty_netns);
    cases.case("orders/del-with-a-vanished-netns", vanished_netns);
    cases.case("orders/add-twice", add_twice);
    cases.case("orders/add-again-with-other-addresses", other_addresses);
    cases.case("orders/check-after-the-address-changed", changed);
    cases.case("orders/check-without-add", check_without_add);
    cases.case("orders/check-after-del", check_after_del);
    cases.case("orders/an-address-that-changed-hands", changed_hands);
}

fn bridge(node: &Node) -> Result<Chain> {
    Chain::reference(node, Kind::Bridge, Families::Dual, "1.1.0")
}

fn terway(node: &Node) -> Result<Chain> {
    Chain::terway(node, Families::Dual, "1.1.0", "full", true)
}

/// By libcni, whatever comes of it.
fn call(node: &Node, chain: &Chain, verb: Verb, pod: &Pod) -> Result<Answer> {
    Driver::Libcni.call(node, chain, &Call::new(verb, pod))
}

/// The plugin alone, with prevResult as the runtime has it.
fn alone(node: &Node, chain: &Chain, verb: Verb, pod: &Pod, ips: &[IpAddr]) -> Result<Answer> {
    let call = Call {
        ips: ips.to_vec(),
        ..Call::new(verb, pod)
    };
    Driver::ByHand.call(node, chain, &call)
}

fn del_without_add(node: &Node) -> Result<()> {
    let (chain, pod) = (bridge(node)?, Pod::new()?);
    call(node, &chain, Verb::Del, &pod)?.ok()?;
    let gone = pod.without_netns();
    call(node, &chain, Verb::Del, &gone)?.ok()?;
    Ok(())
}

fn del_twice(node: &Node) -> Result<()> {
    let (chain, pod) = (bridge(node)?, Pod::new()?);
    registered(node, &call(node, &chain, Verb::Add, &pod)?.ok()?, 2)?;
    for _ in 0..2 {
        call(node, &chain, Verb::Del, &pod)?.ok()?;
        node.expect_nothing()?;
    }
    Ok(())
}

/// What containerd does: once with everything, then once more with nothing.
fn empty_netns(node: &Node) -> Result<()> {
    for chain in [bridge(node)?, terway(node)?] {
        let pod = Pod::new()?;
        call(node, &chain, Verb::Add, &pod)?.ok()?;
        let gone = pod.without_netns();
        // Without the cache there is no prevResult either.
        forget(&chain, &pod)?;
        call(node, &chain, Verb::Del, &gone)?.ok()?;
        node.expect_nothing()?;
        call(node, &chain, Verb::Del, &pod)?.ok()?;
    }
    Ok(())
}

fn vanished_netns(node: &Node) -> Result<()> {
    let (chain, mut pod) = (bridge(node)?, Pod::new()?);
    call(node, &chain, Verb::Add, &pod)?.ok()?;
    pod.vanish()?;
    for _ in 0..2 {
        call(node, &chain, Verb::Del, &pod)?.ok()?;
        node.expect_nothing()?;
    }
    Ok(())
}

fn add_twice(node: &Node) -> Result<()> {
    let (chain, pod) = (terway(node)?, Pod::new()?);
    let first = registered(node, &call(node, &chain, Verb::Add, &pod)?.ok()?, 2)?;
    let again = registered(node, &call(node, &chain, Verb::Add, &pod)?.ok()?, 2)?;
    if first != again {
        bail!("from {first:?} to {again:?}");
    }
    call(node, &chain, Verb::Del, &pod)?.ok()?;
    Ok(())
}

fn other_addresses(node: &Node) -> Result<()> {
    let (chain, pod) = (terway(node)?, Pod::new()?);
    let ips: [IpAddr; 3] = ["10.9.0.1".parse()?, "10.9.0.2".parse()?, "fd09::3".parse()?];
    pod.wire(&ips)?;
    for some in [&ips[..], &ips[1..], &ips[..1]] {
        alone(node, &chain, Verb::Add, &pod, some)?.ok()?;
    }
    // prevResult lacks IPv6, the interface has it; the second IPv4 address went.
    node.expect_rows(&pod.container, &[ips[0], ips[2]])?;
    alone(node, &chain, Verb::Del, &pod, &[])?.ok()?;
    Ok(())
}

fn changed(node: &Node) -> Result<()> {
    let (chain, pod) = (terway(node)?, Pod::new()?);
    let (old, new): ([IpAddr; 1], [IpAddr; 1]) = (["10.9.0.1".parse()?], ["10.9.0.9".parse()?]);
    pod.wire(&old)?;
    alone(node, &chain, Verb::Add, &pod, &old)?.ok()?;
    alone(node, &chain, Verb::Check, &pod, &old)?.ok()?;
    for _ in 0..2 {
        alone(node, &chain, Verb::Check, &pod, &new)?.fails(105, "10.9.0.9 is not registered")?;
    }
    alone(node, &chain, Verb::Add, &pod, &new)?.ok()?;
    alone(node, &chain, Verb::Check, &pod, &new)?.ok()?;
    node.expect_rows(&pod.container, &new)?;
    alone(node, &chain, Verb::Del, &pod, &new)?.ok()?;
    Ok(())
}

fn check_without_add(node: &Node) -> Result<()> {
    let (chain, pod) = (terway(node)?, Pod::new()?);
    let ips = ["10.9.0.1".parse()?];
    pod.wire(&ips)?;
    for _ in 0..2 {
        alone(node, &chain, Verb::Check, &pod, &ips)?.fails(105, "is not registered")?;
    }
    Ok(())
}

fn check_after_del(node: &Node) -> Result<()> {
    let (chain, pod) = (bridge(node)?, Pod::new()?);
    let ips = call(node, &chain, Verb::Add, &pod)?.ok()?.ips();
    alone(node, &chain, Verb::Del, &pod, &ips)?.ok()?;
    call(node, &chain, Verb::Check, &pod)?.fails(105, "is not registered")?;
    call(node, &chain, Verb::Del, &pod)?.ok()?;
    Ok(())
}

/// A DEL that comes late, after the next pod has the address.
fn changed_hands(node: &Node) -> Result<()> {
    let chain = terway(node)?;
    let (old, new) = (Pod::new()?, Pod::new()?);
    let ips = ["10.9.0.1".parse()?, "fd09::1".parse()?];
    old.wire(&ips)?;
    new.wire(&ips)?;
    alone(node, &chain, Verb::Add, &old, &ips)?.ok()?;
    alone(node, &chain, Verb::Add, &new, &ips)?.ok()?;
    node.expect_rows(&new.container, &ips)?;
    alone(node, &chain, Verb::Check, &old, &ips)?.fails(105, &new.container)?;
    for _ in 0..2 {
        alone(node, &chain, Verb::Del, &old, &ips)?.ok()?;
        node.expect_rows(&new.container, &ips)
            .context("after the late DEL")?;
    }
    alone(node, &chain, Verb::Check, &new, &ips)?.ok()?;
    alone(node, &chain, Verb::Del, &new, &[])?.ok()?;
    Ok(())
}

/// Removes what libcni remembers of an attachment.
pub(super) fn forget(chain: &Chain, pod: &Pod) -> Result<()> {
    let path = format!(
        "/var/lib/cni/results/{}-{}-{}",
        chain.network, pod.container, pod.ifname
    );
    fs::remove_file(&path).with_context(|| format!("remove {path}"))
}

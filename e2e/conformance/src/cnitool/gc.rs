//! GC by libcni, with and without attachments that libcni remembers.

use anyhow::{Result, bail};

use super::orders::forget;
use super::{Cases, expect_ips, registered};
use crate::chains::{Chain, Families, Kind};
use crate::drivers::{Answer, Call, Driver, Verb};
use crate::node::Node;
use crate::pod::Pod;

pub(super) fn cases(cases: &mut Cases<'_>) {
    cases.case("gc/nothing", nothing);
    cases.case("gc/keeps-what-is-valid", keeps);
    cases.case("gc/what-the-runtime-forgot", forgotten);
    cases.case("gc/leaves-other-networks", other_network);
}

fn bridge(node: &Node) -> Result<Chain> {
    Chain::reference(node, Kind::Bridge, Families::Dual, "1.1.0")
}

fn gc(node: &Node, chain: &Chain, valid: &[&Pod]) -> Result<Answer> {
    // GC is about no pod in particular.
    let nobody = Pod::new()?;
    let call = Call {
        valid: valid.to_vec(),
        ..Call::new(Verb::Gc, &nobody)
    };
    Driver::Libcni.call(node, chain, &call)?.ok()
}

fn one(node: &Node, chain: &Chain, verb: Verb, pod: &Pod) -> Result<Answer> {
    Driver::Libcni
        .call(node, chain, &Call::new(verb, pod))?
        .ok()
}

fn nothing(node: &Node) -> Result<()> {
    let chain = bridge(node)?;
    gc(node, &chain, &[])?;
    gc(node, &chain, &[])?;
    let found = chain.logged("GC");
    if found != 2 {
        bail!("the plugin was called {found} times");
    }
    Ok(())
}

fn keeps(node: &Node) -> Result<()> {
    let chain = bridge(node)?;
    let (kept, stale) = (Pod::new()?, Pod::new()?);
    let ips = registered(node, &one(node, &chain, Verb::Add, &kept)?, 2)?;
    one(node, &chain, Verb::Add, &stale)?;
    for _ in 0..2 {
        gc(node, &chain, &[&kept])?;
        expect_ips(node, &ips)?;
        one(node, &chain, Verb::Check, &kept)?;
    }
    gc(node, &chain, &[])?;
    Ok(())
}

/// libcni calls DEL for what it remembers; for the rest GC is all there is.
fn forgotten(node: &Node) -> Result<()> {
    let chain = bridge(node)?;
    let (kept, stale) = (Pod::new()?, Pod::new()?);
    let ips = registered(node, &one(node, &chain, Verb::Add, &kept)?, 2)?;
    one(node, &chain, Verb::Add, &stale)?;
    forget(&chain, &stale)?;
    gc(node, &chain, &[&kept])?;
    expect_ips(node, &ips)?;
    forget(&chain, &kept)?;
    gc(node, &chain, &[])?;
    if chain.logged("DEL") != 0 {
        bail!("libcni called DEL: it was not GC that cleaned up");
    }
    Ok(())
}

fn other_network(node: &Node) -> Result<()> {
    let (chain, other) = (bridge(node)?, bridge(node)?);
    let pod = Pod::new()?;
    let ips = registered(node, &one(node, &chain, Verb::Add, &pod)?, 2)?;
    gc(node, &other, &[])?;
    expect_ips(node, &ips)?;
    one(node, &chain, Verb::Del, &pod)?;
    Ok(())
}

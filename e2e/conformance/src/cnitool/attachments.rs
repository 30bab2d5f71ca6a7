//! Several interfaces of one pod, as Multus adds them.

use anyhow::{Context, Result, bail};

use super::{Cases, expect_ips};
use crate::chains::{Chain, Families, Kind};
use crate::drivers::{Answer, Call, Driver, Verb};
use crate::node::Node;
use crate::pod::Pod;

pub(super) fn cases(cases: &mut Cases<'_>) {
    for driver in [Driver::Cnitool, Driver::Libcni] {
        let name = format!("attachments/eth0-and-net1/{}", driver.name());
        cases.case(&name, |node| two(node, driver));
    }
}

fn two(node: &Node, driver: Driver) -> Result<()> {
    let eth0 = Chain::reference(node, Kind::Bridge, Families::Dual, "1.0.0")?;
    let net1 = Chain::reference(node, Kind::PtpPortmap, Families::V6, "0.4.0")?;
    let pod = Pod::new()?;
    let second = pod.by("net1");
    let call = |chain, verb, pod| {
        driver
            .call(node, chain, &Call::new(verb, pod))
            .and_then(Answer::ok)
    };

    let mut ips = call(&eth0, Verb::Add, &pod)?.ips();
    let of_net1 = call(&net1, Verb::Add, &second)?.ips();
    ips.extend(&of_net1);
    ips.sort_unstable();
    expect_ips(node, &ips).context("both")?;
    if node
        .rows()?
        .iter()
        .filter(|row| row.ifname == "net1")
        .count()
        != 1
    {
        bail!("net1 has not one row of its own");
    }
    call(&eth0, Verb::Check, &pod)?;
    call(&net1, Verb::Check, &second)?;
    call(&eth0, Verb::Del, &pod)?;
    expect_ips(node, &of_net1).context("eth0 deleted")?;
    call(&net1, Verb::Check, &second)?;
    call(&net1, Verb::Del, &second)?;
    node.expect_nothing()?;
    call(&net1, Verb::Del, &second)?;
    call(&eth0, Verb::Del, &pod)?;
    Ok(())
}

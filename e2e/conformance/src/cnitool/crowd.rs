//! Many pods at the same time.

use anyhow::{Context, Result, bail};

use super::{Cases, expect_ips};
use crate::chains::{Chain, Families, Kind};
use crate::drivers::{Answer, Call, Driver, Verb, libcni};
use crate::node::Node;
use crate::pod::Pod;

const PODS: usize = 200;
/// Calls at the same time.
const PARALLEL: usize = 16;

pub(super) fn cases(cases: &mut Cases<'_>) {
    cases.case("crowd/200-pods-add-then-del", add_then_del);
    cases.case("crowd/adds-and-dels-at-the-same-time", mixed);
}

fn pods() -> Result<Vec<Pod>> {
    (0..PODS).map(|_| Pod::new()).collect()
}

/// One verb on many pods; their answers.
fn on_all(node: &Node, chain: &Chain, calls: &[(Verb, &Pod)]) -> Result<Vec<Answer>> {
    let calls: Vec<_> = calls
        .iter()
        .map(|(verb, pod)| Call::new(*verb, pod))
        .collect();
    libcni::calls(node, chain, &calls, PARALLEL)?
        .into_iter()
        .map(Answer::ok)
        .collect()
}

fn add_then_del(node: &Node) -> Result<()> {
    let chain = Chain::reference(node, Kind::Bridge, Families::V4, "1.0.0")?;
    let pods = pods()?;
    let each = |verb| pods.iter().map(|pod| (verb, pod)).collect::<Vec<_>>();
    let answers = on_all(node, &chain, &each(Verb::Add)).context("ADD")?;
    let mut ips: Vec<_> = answers.iter().flat_map(Answer::ips).collect();
    ips.sort_unstable();
    ips.dedup();
    if ips.len() != PODS {
        bail!("{} addresses for {PODS} pods", ips.len());
    }
    expect_ips(node, &ips)?;
    // Ours alone: the bridge plugin's CHECK wants the address that the bridge
    // had at ADD, and a bridge changes it as ports come.
    for (pod, answer) in pods.iter().zip(&answers) {
        let call = Call {
            ips: answer.ips(),
            ..Call::new(Verb::Check, pod)
        };
        Driver::ByHand
            .call(node, &chain, &call)?
            .ok()
            .context("CHECK")?;
    }
    on_all(node, &chain, &each(Verb::Del)).context("DEL")?;
    Ok(())
}

/// The first half goes while the second comes.
fn mixed(node: &Node) -> Result<()> {
    let chain = Chain::reference(node, Kind::Bridge, Families::V4, "1.0.0")?;
    let pods = pods()?;
    let (first, second) = pods.split_at(PODS / 2);
    on_all(
        node,
        &chain,
        &first.iter().map(|pod| (Verb::Add, pod)).collect::<Vec<_>>(),
    )?;
    let both: Vec<_> = first
        .iter()
        .zip(second)
        .flat_map(|(old, new)| [(Verb::Del, old), (Verb::Add, new)])
        .collect();
    let answers = on_all(node, &chain, &both)?;
    let mut ips: Vec<_> = answers.iter().flat_map(Answer::ips).collect();
    ips.sort_unstable();
    expect_ips(node, &ips)?;
    for row in node.rows()? {
        if !second.iter().any(|pod| pod.container == row.container) {
            bail!("a pod that was deleted is registered: {row}");
        }
    }
    on_all(
        node,
        &chain,
        &second
            .iter()
            .map(|pod| (Verb::Del, pod))
            .collect::<Vec<_>>(),
    )?;
    Ok(())
}

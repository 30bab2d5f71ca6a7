//! `sockway-conformance cnitool`: the plugin under the reference runtime.

mod attachments;
mod chains;
mod crowd;
mod gc;
mod orders;
mod terway;
mod trouble;
mod verbs;

use std::net::IpAddr;

use anyhow::{Context, Result, bail};

use crate::drivers::Answer;
use crate::filter::Filter;
use crate::matrix::Matrix;
use crate::node::Node;
use crate::report::Report;
use crate::tools::Tools;
use crate::world::World;

/// Runs cases by name, each on empty maps that it has to leave empty.
struct Cases<'a> {
    node: &'a Node,
    filter: &'a Filter,
    report: &'a mut Report,
}

impl Cases<'_> {
    fn case(&mut self, name: &str, case: impl FnOnce(&Node) -> Result<()>) {
        let node = self.node;
        if self.filter.takes(name) {
            let (left, purge) = (|| node.expect_nothing(), || node.purge());
            self.report.clean_case(name, || case(node), left, purge);
        }
    }
}

/// Runs every case that the filter takes.
pub(crate) fn run(
    world: &World,
    tools: &Tools,
    filter: &Filter,
    report: &mut Report,
) -> Result<()> {
    let node = Node::new(world, tools)?;
    // The chain as terway's daemon writes it; the installer puts ours in.
    terway::install(&node).context("sockway install")?;
    let mut matrix = Matrix::default();
    let mut cases = Cases {
        node: &node,
        filter,
        report,
    };
    verbs::cases(&mut cases, &mut matrix);
    chains::cases(&mut cases);
    terway::cases(&mut cases);
    attachments::cases(&mut cases);
    orders::cases(&mut cases);
    gc::cases(&mut cases);
    crowd::cases(&mut cases);
    // Last: they take the maps away and put them back.
    trouble::cases(&mut cases);
    println!("\n{matrix}");
    Ok(())
}

/// An error unless the addresses that are registered are those of a result.
fn registered(node: &Node, answer: &Answer, count: usize) -> Result<Vec<IpAddr>> {
    let mut ips = answer.ips();
    ips.sort_unstable();
    if ips.len() != count {
        bail!(
            "{count} addresses expected of the result {:?}",
            answer.result
        );
    }
    expect_ips(node, &ips)?;
    Ok(ips)
}

/// An error unless exactly these addresses, in ascending order, are registered.
fn expect_ips(node: &Node, ips: &[IpAddr]) -> Result<()> {
    let rows: Vec<_> = node.rows()?.iter().map(|row| row.ip).collect();
    if rows != ips {
        bail!("registered: {rows:?}; expected: {ips:?}");
    }
    Ok(())
}

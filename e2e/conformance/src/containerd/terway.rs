//! The runtime with the list that terway's daemon writes, as the kubelet's
//! nodes have it: version 0.4.0, `cilium-cni` behind, ours put in by the installer.

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use super::pods::expect_rows;
use super::{Bed, Cases};
use crate::chains::{self, Families};

/// The file that terway's daemon writes.
const TERWAY: &str = "10-terway.conflist";

pub(super) fn cases(cases: &mut Cases<'_>) {
    for (families, count) in [(Families::Dual, 2), (Families::V6, 1)] {
        let name = format!("terway/{}", families.name());
        cases.case(&name, |bed| behind_terway(bed, families, count));
    }
}

fn behind_terway(bed: &Bed, families: Families, count: usize) -> Result<()> {
    let node = &bed.node;
    let list = json!({
        "cniVersion": "0.4.0",
        "name": "terway-chainer",
        "plugins": [
            chains::terway(node, u32::MAX, families, "full"),
            { "type": "cilium-cni", "enable-debug": false },
        ],
    });
    let result = node.install(TERWAY, &list).and_then(|()| live(bed, count));
    fs::remove_file(node.path("net.d").join(TERWAY)).context("remove terway's list")?;
    // The entry stands in the list that is in effect; `sockway run` would see the change.
    node.sockway(&["install"])
        .done()
        .context("sockway install")?;
    bed.eventually(
        "the runtime takes the other list",
        &bed.wanted("probe", &[]),
        |id| gave(bed, id, "ips=10.88."),
    )?;
    result
}

/// Whether ours was told such an address.
fn gave(bed: &Bed, id: &str, address: &str) -> bool {
    bed.logged("ADD", id)
        .iter()
        .any(|line| line.contains(address))
}

fn live(bed: &Bed, count: usize) -> Result<()> {
    bed.eventually(
        "the runtime takes terway's list",
        &bed.wanted("probe", &[]),
        |id| gave(bed, id, "fd66::"),
    )?;
    let id = bed.run(&bed.wanted("web-0", &[("sockway.io/scope", "proxy")]))?;
    expect_rows(bed, &id, "shop/web-0", "proxy", count)?;
    bed.end(&id)
}

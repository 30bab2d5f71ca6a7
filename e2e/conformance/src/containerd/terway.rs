//! The runtime with the list that terway's daemon writes, as the kubelet's
//! nodes have it: version 0.4.0, `cilium-cni` behind, ours put in by the installer.

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use super::pods::expect_rows;
use super::{Bed, Cases, FILE, eventually};
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
    let (net_d, aside) = (node.path("net.d"), node.path("aside"));
    fs::rename(net_d.join(FILE), &aside).context("set the other list aside")?;
    let list = json!({
        "cniVersion": "0.4.0",
        "name": "terway-chainer",
        "plugins": [
            chains::terway(node, u32::MAX, families, "full"),
            { "type": "cilium-cni", "enable-debug": false },
        ],
    });
    let result = node.install(TERWAY, &list).and_then(|()| live(bed, count));
    fs::remove_file(net_d.join(TERWAY)).context("remove terway's list")?;
    fs::rename(&aside, net_d.join(FILE)).context("put the other list back")?;
    eventually("the runtime takes the other list", || {
        let id = bed.run(&bed.wanted("probe", &[]))?;
        let back = bed
            .logged("ADD", &id)
            .iter()
            .any(|line| line.contains("ips=10.88."));
        bed.end(&id)?;
        Ok(back)
    })?;
    result
}

fn live(bed: &Bed, count: usize) -> Result<()> {
    eventually("the runtime takes terway's list", || {
        let id = bed.run(&bed.wanted("probe", &[]))?;
        let behind_terway = bed
            .logged("ADD", &id)
            .iter()
            .any(|line| line.contains("fd66::"));
        bed.end(&id)?;
        Ok(behind_terway)
    })?;
    let id = bed.run(&bed.wanted("web-0", &[("sockway.io/scope", "proxy")]))?;
    expect_rows(bed, &id, "shop/web-0", "proxy", count)?;
    bed.end(&id)
}

//! Chains of reference plugins, by cnitool, for every family and version.

use anyhow::{Context, Result, bail};

use super::{Cases, registered};
use crate::chains::{Chain, Families, Kind, VERSIONS};
use crate::drivers::{Call, Driver, Verb};
use crate::node::Node;
use crate::pod::Pod;

pub(super) fn cases(cases: &mut Cases<'_>) {
    for kind in Kind::ALL {
        for families in Families::ALL {
            for version in VERSIONS {
                let name = format!("chain/[{}]/{}/{version}", kind.name(), families.name());
                cases.case(&name, |node| chain(node, kind, families, version));
            }
        }
    }
}

fn chain(node: &Node, kind: Kind, families: Families, version: &'static str) -> Result<()> {
    let chain = Chain::reference(node, kind, families, version)?;
    let pod = Pod::new()?;
    let capabilities = kind.capabilities(families);
    let call = |verb| {
        let call = Call {
            capabilities: capabilities.clone(),
            ..Call::new(verb, &pod)
        };
        Driver::Cnitool
            .call(node, &chain, &call)
            .and_then(super::Answer::ok)
    };
    let added = call(Verb::Add).context("ADD")?;
    registered(node, &added, families.count())?;
    for row in node.rows()? {
        let name = format!("shop/{}", pod.name);
        if (row.pod.as_str(), row.scope, row.ifname.as_str()) != (&name, "proxy", "eth0") {
            bail!("the row is {row}");
        }
    }
    if VERSIONS.iter().position(|known| *known == version) >= Some(2) {
        for _ in 0..2 {
            call(Verb::Check).context("CHECK")?;
        }
    }
    for time in ["first", "second"] {
        call(Verb::Del).with_context(|| format!("the {time} DEL"))?;
        node.expect_nothing()
            .with_context(|| format!("after the {time} DEL"))?;
    }
    Ok(())
}

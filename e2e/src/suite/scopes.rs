//! How far pods of each scope take part.

use anyhow::{Result, ensure};
use sockway_common::pair::hop;
use sockway_testkit::hops::MESH;

use super::{Case, Stage};
use crate::world::{Path, Traffic, World};

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "scopes/off_touches_nothing": |stage| scope(stage, "off", &[]);
        "scopes/proxy_only_between_envoys": |stage| scope(stage, "proxy", &[hop::INBOUND]);
        "scopes/all_takes_every_hop": |stage| scope(stage, "all", &MESH);
    }
}

/// Verified traffic of which these hops, and no others, are redirected.
fn scope(stage: &Stage, scope: &str, hops: &[u32]) -> Result<()> {
    let world = World::installed_with(&stage.tools, &["--scope", scope])?;
    for family in 0..2 {
        let outcome = world.traffic(&Traffic::new(Path::ThroughBoth, family))?;
        for kind in MESH {
            let redirected = outcome.hops.messages(kind);
            let (name, wanted) = (hop::name(kind), hops.contains(&kind));
            ensure!(
                (redirected > 0) == wanted,
                "scope {scope}: {redirected} messages redirected on hop {name}: {}",
                outcome.hops
            );
        }
    }
    Ok(())
}

//! HTTP through both Envoys: every answer compared.

use anyhow::{Context as _, Result, ensure};
use sockway_testkit::hops::MESH;
use sockway_testkit::mesh::sidecar::Protocol;

use super::{Case, Stage};

/// Bytes of bodies.
const SIZES: [&str; 4] = ["0", "100", "16384", "300000"];

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "http/echo_v4": |stage| echo(stage, 0);
        "http/echo_v6": |stage| echo(stage, 1);
    }
}

fn echo(stage: &Stage, family: usize) -> Result<()> {
    for size in SIZES {
        let args = [
            "--size",
            size,
            "--connections",
            "16",
            "--duration",
            "800",
            "--settle",
            "100",
        ];
        let (load, hops) = stage.world()?.load(Protocol::Http, family, &args)?;
        ensure!(
            load.faults == 0 && load.requests > 0,
            "{size} bytes: {load}"
        );
        hops.redirected_on(&MESH)
            .with_context(|| format!("{size} bytes"))?;
    }
    Ok(())
}

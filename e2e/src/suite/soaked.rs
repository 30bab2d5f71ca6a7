//! A short soak: every path in every manner, with another seed each time.

use anyhow::{Context, Result, ensure};

use super::{Case, Stage};
use crate::soak::options::Options;
use crate::soak::soak;

/// Connections: some twenty seconds on two idle processors.
const CONNECTIONS: u32 = 30_000;

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "soak/thirty_thousand_connections": run;
    }
}

fn run(stage: &Stage) -> Result<()> {
    let seed = fastrand::u64(..);
    let options = Options {
        connections: CONNECTIONS,
        max_size: 256 * 1024,
        concurrency: 64,
        plain: false,
        only: String::new(),
        kinds: None,
        seed,
        limit: 600,
        record: None,
        progress: false,
    };
    let results = soak(stage.world()?, &options)?;
    results
        .check()
        .with_context(|| format!("to repeat it: soak --connections {CONNECTIONS} --seed {seed}"))?;
    let verified = results.verified();
    ensure!(
        verified >= u64::from(CONNECTIONS) * 99 / 100,
        "only {verified} connections"
    );
    ensure!(results.joined_late() > 0, "nothing came in late: {results}");
    Ok(())
}

//! Being asked to stop: SIGINT and SIGTERM set a flag, so that whatever runs
//! can unwind and clean up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

fn flag() -> &'static Arc<AtomicBool> {
    FLAG.get_or_init(|| Arc::new(AtomicBool::new(false)))
}

/// Takes over SIGINT and SIGTERM for this process.
pub fn install() -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag()))
            .with_context(|| format!("install the handler of signal {signal}"))?;
    }
    Ok(())
}

/// True once a signal came.
pub fn requested() -> bool {
    flag().load(Ordering::Relaxed)
}

/// An error once a signal came: for loops that wait.
pub fn check() -> Result<()> {
    if requested() {
        bail!("interrupted");
    }
    Ok(())
}

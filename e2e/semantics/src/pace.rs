//! How much slower than usual this machine may be: emulated ones are.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static FACTOR: AtomicU32 = AtomicU32::new(1);

/// Lets everything take so many times as long before it counts as late or hung.
pub(crate) fn set(factor: u32) {
    FACTOR.store(factor.max(1), Ordering::Relaxed);
}

/// The factor that [`set`] was given.
pub(crate) fn factor() -> u32 {
    FACTOR.load(Ordering::Relaxed)
}

/// How long something may take here that may take `time` elsewhere.
pub(crate) fn allow(time: Duration) -> Duration {
    time.saturating_mul(factor())
}

//! How much slower than usual this machine may be (emulated ones are), and how long idle means.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
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

/// Seconds, as [`set_idle`] was given.
static IDLE: AtomicU64 = AtomicU64::new(DEFAULT_IDLE);

/// How long an idle connection is idle unless told otherwise, seconds.
pub(crate) const DEFAULT_IDLE: u64 = 3;

/// Lets idle connections be idle for so many seconds.
pub(crate) fn set_idle(seconds: u64) {
    IDLE.store(seconds, Ordering::Relaxed);
}

/// How long an idle connection is idle.
pub(crate) fn idle() -> Duration {
    Duration::from_secs(IDLE.load(Ordering::Relaxed))
}

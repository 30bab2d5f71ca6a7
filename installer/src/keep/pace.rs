//! How often what costs the more the fuller the node is may be done.

use std::time::{Duration, Instant};

/// How many times as long as it took has to go by: pods that start one after another must not cost more than
/// a tenth of one CPU.
const SHARE: u32 = 10;
/// Longer than this nobody waits, however much it costs.
const MOST: Duration = Duration::from_millis(250);

/// When it may be done next.
#[derive(Clone, Copy, Debug)]
pub struct Pace(Instant);

impl Pace {
    /// At once.
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// From when on.
    #[must_use]
    pub const fn at(self) -> Instant {
        self.0
    }

    /// It was done, which took so long.
    pub fn done(&mut self, took: Duration) {
        self.0 = Instant::now() + (took * SHARE).min(MOST);
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

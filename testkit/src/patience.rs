//! Waiting for something that is to happen.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::stop;

/// Between two looks.
const TICK: Duration = Duration::from_millis(20);

/// Looks until there is an outcome; an error with what was seen last where that takes too long.
pub fn until<T>(limit: Duration, look: impl Fn() -> Result<Result<T, String>>) -> Result<T> {
    let started = Instant::now();
    loop {
        stop::check()?;
        match look()? {
            Ok(outcome) => return Ok(outcome),
            Err(seen) if started.elapsed() > limit => {
                bail!("{seen}, after {} s", limit.as_secs());
            }
            Err(_) => thread::sleep(TICK),
        }
    }
}

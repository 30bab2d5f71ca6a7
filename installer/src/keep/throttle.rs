//! How often may be written: a bucket of tokens.

use std::time::{Duration, Instant};

/// Lets a few through at once and then one for each interval.
#[derive(Clone, Debug)]
pub struct Throttle {
    capacity: u32,
    interval: Duration,
    tokens: u32,
    refilled: Instant,
}

impl Throttle {
    /// A full bucket.
    pub const fn new(capacity: u32, interval: Duration, now: Instant) -> Self {
        Self {
            capacity,
            interval,
            tokens: capacity,
            refilled: now,
        }
    }

    /// Takes a token, or says how long there will be none.
    ///
    /// # Errors
    ///
    /// The time until the next token.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        if self.tokens == 0 {
            return Err((self.refilled + self.interval).saturating_duration_since(now));
        }
        self.tokens -= 1;
        Ok(())
    }

    fn refill(&mut self, now: Instant) {
        while self.tokens < self.capacity && self.refilled + self.interval <= now {
            self.refilled += self.interval;
            self.tokens += 1;
        }
        if self.tokens == self.capacity {
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Throttle;
    use std::time::{Duration, Instant};

    #[test]
    fn a_burst_and_then_one_for_each_interval() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut throttle = Throttle::new(2, Duration::from_secs(1), start);
        assert_eq!(throttle.take(at(0)), Ok(()));
        assert_eq!(throttle.take(at(0)), Ok(()));
        assert_eq!(throttle.take(at(0)), Err(Duration::from_secs(1)));
        assert_eq!(throttle.take(at(400)), Err(Duration::from_millis(600)));
        assert_eq!(throttle.take(at(1_000)), Ok(()));
        assert!(throttle.take(at(1_001)).is_err());
        assert_eq!(throttle.take(at(60_000)), Ok(()));
        assert_eq!(throttle.take(at(60_000)), Ok(()));
        assert!(throttle.take(at(60_000)).is_err());
    }
}

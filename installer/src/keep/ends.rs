//! When to see where receiving calls end: time and a counter go in, decisions come out.

use std::time::{Duration, Instant};

use sockway_datapath::ends::Ends;
use sockway_datapath::{Error, Pins};

/// How often the counter is looked at: an application that asks waits no longer than this.
const EVERY: Duration = Duration::from_secs(1);
/// Nobody asked for so long: the hook comes off.
const QUIET: Duration = Duration::from_secs(10);

/// What is known of the hook, which every receiving call of the node pays for
/// ([`sockway_datapath::ends`]).
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    on: bool,
    asks: u64,
    last_asked: Instant,
    next_look: Instant,
}

impl Hook {
    /// As an install leaves it.
    pub const fn new(now: Instant) -> Self {
        Self {
            on: true,
            asks: 0,
            last_asked: now,
            next_look: now,
        }
    }

    /// When to look next.
    pub const fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Looks, if it is time to, and does what is to be done.
    ///
    /// # Errors
    ///
    /// Where the maps cannot be opened or the kernel refuses.
    pub fn turn(&mut self, pins: &Pins, now: Instant) -> Result<(), Error> {
        if now < self.next_look {
            return Ok(());
        }
        self.next_look = now + EVERY;
        let mut ends = Ends::open(pins)?;
        match self.decide(ends.asks()?, now) {
            Some(true) => {
                if ends.attach()? {
                    log::debug!("sees where receiving calls end: an application is to be known");
                }
                self.on = true;
            }
            Some(false) => {
                if ends.release()? {
                    log::debug!("no longer sees where receiving calls end: nobody asks");
                }
                self.on = false;
            }
            None => {}
        }
        Ok(())
    }

    /// Leaves it as an install does, for nobody will put it back.
    ///
    /// # Errors
    ///
    /// As [`Hook::turn`].
    pub fn leave(&mut self, pins: &Pins) -> Result<(), Error> {
        if !self.on {
            self.on = Ends::open(pins)?.attach()?;
        }
        Ok(())
    }

    /// The programs were put in place anew, and the hook with them.
    pub const fn installed(&mut self, now: Instant) {
        self.on = true;
        self.last_asked = now;
    }

    /// Whether to put it on or take it off, if either.
    fn decide(&mut self, asks: u64, now: Instant) -> Option<bool> {
        if asks != self.asks {
            self.asks = asks;
            self.last_asked = now;
            return (!self.on).then_some(true);
        }
        let quiet = now.saturating_duration_since(self.last_asked) >= QUIET;
        (self.on && quiet).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::{Hook, QUIET};
    use std::time::{Duration, Instant};

    #[test]
    fn on_while_somebody_asks() {
        let start = Instant::now();
        let mut hook = Hook::new(start);
        assert_eq!(hook.decide(5, start), None, "on already");
        let second = Duration::from_secs(1);
        assert_eq!(hook.decide(5, start + Duration::from_secs(9)), None);
        assert_eq!(hook.decide(5, start + QUIET), Some(false), "quiet");
        hook.on = false;
        let later = start + QUIET + second;
        assert_eq!(hook.decide(5, later), None, "still quiet");
        assert_eq!(hook.decide(6, later), Some(true), "asked");
        hook.on = true;
        assert_eq!(hook.decide(7, later + QUIET), None, "asked again");
        assert_eq!(hook.decide(7, later + QUIET * 2), Some(false));
        hook.installed(later + QUIET * 2);
        assert_eq!(hook.decide(7, later + QUIET * 2), None, "on anew");
    }

    #[test]
    fn what_could_not_be_done_is_tried_again() {
        let start = Instant::now();
        let mut hook = Hook::new(start);
        hook.on = false;
        assert_eq!(hook.decide(1, start), Some(true));
        // `on` stays false where attaching failed; the application goes on asking.
        assert_eq!(hook.decide(2, start), Some(true));
        hook.on = true;
        assert_eq!(hook.decide(2, start + QUIET), Some(false));
        assert_eq!(hook.decide(2, start + QUIET), Some(false));
    }
}

//! When to see where receiving calls end: time and a counter go in, decisions come out.

use std::time::{Duration, Instant};

use sockway_datapath::receive_hook::ReceiveHook;
use sockway_datapath::{Error, Pins};

/// How often the counter is looked at: an application that asks waits no longer than this.
const EVERY: Duration = Duration::from_secs(1);
/// Nobody asked for so long: the hook comes off.
const QUIET: Duration = Duration::from_secs(10);

/// What is known of the hook, which every receiving call of the node pays for
/// ([`sockway_datapath::receive_hook`]).
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    asks: u64,
    last_asked: Instant,
    next_look: Instant,
}

impl Hook {
    /// Nobody asked yet.
    pub const fn new(now: Instant) -> Self {
        Self {
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
        let mut ends = ReceiveHook::open(pins)?;
        let done = match self.decide(ends.is_attached(), ends.asks()?, now) {
            Some(true) => ends.attach()?.then_some("on: an application asks"),
            Some(false) => ends.release()?.then_some("off: nobody asks"),
            None => None,
        };
        if let Some(done) = done {
            log::debug!("hook at the end of receiving calls {done}");
        }
        Ok(())
    }

    /// Puts it on at once, for somebody asks who was not heard before.
    ///
    /// # Errors
    ///
    /// As [`Hook::turn`].
    pub fn asked(pins: &Pins) -> Result<(), Error> {
        let mut hook = ReceiveHook::open(pins)?;
        if !hook.is_attached() {
            hook.attach()?;
        }
        Ok(())
    }

    /// Leaves it as an install does, for nobody will put it back.
    ///
    /// # Errors
    ///
    /// As [`Hook::turn`].
    pub fn leave(pins: &Pins) -> Result<(), Error> {
        Self::asked(pins)
    }

    /// The programs were put in place anew, and the hook with them.
    pub const fn installed(&mut self, now: Instant) {
        self.last_asked = now;
    }

    /// Whether to put it on or take it off, if either; `on`: as it is now.
    fn decide(&mut self, on: bool, asks: u64, now: Instant) -> Option<bool> {
        if asks != self.asks {
            self.asks = asks;
            self.last_asked = now;
            return (!on).then_some(true);
        }
        let quiet = now.saturating_duration_since(self.last_asked) >= QUIET;
        (on && quiet).then_some(false)
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
        assert_eq!(hook.decide(true, 5, start), None, "on already");
        let second = Duration::from_secs(1);
        assert_eq!(hook.decide(true, 5, start + Duration::from_secs(9)), None);
        assert_eq!(hook.decide(true, 5, start + QUIET), Some(false), "quiet");
        let later = start + QUIET + second;
        assert_eq!(hook.decide(false, 5, later), None, "still quiet");
        assert_eq!(hook.decide(false, 6, later), Some(true), "asked");
        assert_eq!(hook.decide(true, 7, later + QUIET), None, "asked again");
        assert_eq!(hook.decide(true, 7, later + QUIET * 2), Some(false));
        hook.installed(later + QUIET * 2);
        assert_eq!(hook.decide(true, 7, later + QUIET * 2), None, "on anew");
    }

    #[test]
    fn what_could_not_be_done_is_tried_again() {
        let start = Instant::now();
        let mut hook = Hook::new(start);
        assert_eq!(hook.decide(false, 1, start), Some(true));
        // Still off where attaching failed; the application goes on asking.
        assert_eq!(hook.decide(false, 2, start), Some(true));
        assert_eq!(hook.decide(true, 2, start + QUIET), Some(false));
        assert_eq!(hook.decide(true, 2, start + QUIET), Some(false));
    }

    #[test]
    fn what_others_put_on_comes_off_too() {
        let start = Instant::now();
        let mut hook = Hook::new(start);
        assert_eq!(hook.decide(true, 0, start + QUIET), Some(false));
        // `sockway install` beside the keeper, while nobody asks.
        assert_eq!(hook.decide(true, 0, start + QUIET * 2), Some(false));
    }
}

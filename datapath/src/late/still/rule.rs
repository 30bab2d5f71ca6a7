//! When a queue stands still: the rule, without the looks.

use std::time::{Duration, Instant};

/// From half the time on, its reader is looked at so often in the whole of it.
const LOOKS: u32 = 8;
/// The fewest times that the reader must have been seen asking.
const LEAST: u32 = 3;

/// An end in whose redirected queue bytes wait.
///
/// It stands still where that was seen at every look for the whole time, nothing went in either way by
/// what is counted, and its reader was seen asking for bytes each time that it was looked at. One look
/// at which it did not ask, or anything that moved, begins the time anew.
#[derive(Debug)]
pub(super) struct Suspect {
    since: Instant,
    /// Bytes that were counted on the way to it.
    figures: [u64; 2],
    asked: u32,
    next: Instant,
}

impl Suspect {
    /// Bytes wait from now on.
    pub(super) fn new(now: Instant, figures: [u64; 2], after: Duration) -> Self {
        Self {
            since: now,
            figures,
            asked: 0,
            next: now + after / 2,
        }
    }

    /// Bytes still wait; true where the reader is to be looked at.
    pub(super) fn waits(&mut self, now: Instant, figures: [u64; 2], after: Duration) -> bool {
        if figures != self.figures {
            *self = Self::new(now, figures, after);
        }
        now >= self.next
    }

    /// The reader was looked at; true where the queue stands still.
    pub(super) fn looked_at(&mut self, now: Instant, asks: bool, after: Duration) -> bool {
        if !asks {
            *self = Self::new(now, self.figures, after);
            return false;
        }
        self.asked += 1;
        self.next = now + after / LOOKS;
        self.asked >= LEAST && self.time(now) >= after
    }

    /// For how long bytes have waited.
    pub(super) fn time(&self, now: Instant) -> Duration {
        now.duration_since(self.since)
    }
}

/// Into how many passes the look at all ends is divided: so many that it takes one and a half times the
/// time, but no fewer than `LEAST_ENDS` ends at each. A look takes 3.4 us (6.18), so 10 000 connections
/// take some 0.08 % of a core with 60 s.
pub(super) fn rounds(ends: usize, after: Duration, between: Duration) -> u64 {
    const LEAST_ENDS: usize = 64;
    let most = (after * 3 / 2).as_millis() / between.as_millis().max(1);
    let most = u64::try_from(most).unwrap_or(u64::MAX).max(1);
    u64::try_from(ends / LEAST_ENDS)
        .unwrap_or(u64::MAX)
        .clamp(1, most)
}

/// Whether an end is looked at in a turn: each once in `rounds` turns, whatever others come and go.
pub(super) const fn is_due(cookie: u64, turn: u64, rounds: u64) -> bool {
    // The kernel hands cookies out in a row, to each CPU some.
    let mixed = cookie.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    mixed % rounds == turn % rounds
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::{Strategy, any, prop, proptest};

    use super::{Suspect, is_due, rounds};

    const AFTER: Duration = Duration::from_mins(1);

    /// What a pass sees: how long after the last, whether anything moved, whether the reader asks.
    fn passes() -> impl Strategy<Value = Vec<(u64, bool, bool)>> {
        let pass = (
            100..4_000_u64,
            prop::bool::weighted(0.02),
            prop::bool::weighted(0.95),
        );
        prop::collection::vec(pass, 1..400)
    }

    proptest! {
        #[test]
        fn it_trips_only_where_the_whole_time_was_seen_still(passes in passes(), first in any::<u64>()) {
            let mut now = Instant::now();
            let mut figures = [first, 0];
            let mut suspect = Suspect::new(now, figures, AFTER);
            let (mut still_since, mut asked) = (now, 0);
            for (wait, moves, asks) in passes {
                now += Duration::from_millis(wait);
                if moves {
                    figures[1] += 1;
                    (still_since, asked) = (now, 0);
                }
                if !suspect.waits(now, figures, AFTER) {
                    continue;
                }
                let trips = suspect.looked_at(now, asks, AFTER);
                if asks {
                    asked += 1;
                } else {
                    (still_since, asked) = (now, 0);
                }
                assert_eq!(trips, asked >= 3 && now.duration_since(still_since) >= AFTER);
            }
        }

        #[test]
        fn who_always_asks_trips_within_a_pass_of_the_time(wait in 100..4_000_u64) {
            let start = Instant::now();
            let mut suspect = Suspect::new(start, [7, 7], AFTER);
            let mut now = start;
            loop {
                now += Duration::from_millis(wait);
                if suspect.waits(now, [7, 7], AFTER) && suspect.looked_at(now, true, AFTER) {
                    break;
                }
                assert!(now.duration_since(start) < AFTER + AFTER / 8 + Duration::from_millis(2 * wait));
            }
            assert!(suspect.time(now) >= AFTER);
        }

        #[test]
        fn every_end_has_its_turn(cookie in any::<u64>(), ends in 0..100_000_usize, wait in 100..4_000_u64) {
            let between = Duration::from_millis(wait);
            let rounds = rounds(ends, AFTER, between);
            let due = (0..rounds).filter(|&turn| is_due(cookie, turn, rounds)).count();
            assert_eq!(due, 1);
            assert!(between * u32::try_from(rounds).unwrap() <= (AFTER * 3 / 2).max(between));
        }
    }

    #[test]
    fn a_pass_looks_at_a_share_of_many_ends() {
        assert_eq!(rounds(10, AFTER, Duration::from_secs(2)), 1);
        assert_eq!(rounds(640, AFTER, Duration::from_secs(2)), 10);
        assert_eq!(rounds(20_000, AFTER, Duration::from_secs(2)), 45);
        let of_a_turn = (0..20_000).filter(|&cookie| is_due(cookie, 5, 45)).count();
        assert!((300..600).contains(&of_a_turn), "{of_a_turn}");
    }
}

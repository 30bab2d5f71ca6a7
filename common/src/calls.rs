//! How often the plugin was called and how long that took: the one value of the map `calls`.
//!
//! Written by the plugin's own processes, several at a time, and read by whoever shows figures.
//! No eBPF program uses it. The value is an array of `u64`, so that it can be mapped into memory
//! and added to without a lock and without a daemon.

/// Verbs that read a configuration, in the order of their rows. VERSION has none and is not counted.
pub const VERBS: [&str; 5] = ["ADD", "DEL", "CHECK", "STATUS", "GC"];

/// How a call ended, in the order of the counters: as it should; without acceleration, which the
/// runtime was not told; with an error.
pub const OUTCOMES: [&str; 3] = ["done", "degraded", "failed"];
/// Index in [`OUTCOMES`].
pub const DONE: usize = 0;
/// Index in [`OUTCOMES`].
pub const DEGRADED: usize = 1;
/// Index in [`OUTCOMES`].
pub const FAILED: usize = 2;

/// Upper bounds of the buckets of durations, in microseconds; one more bucket holds what took longer.
pub const BOUNDS_US: [u64; 9] = [
    250, 500, 1_000, 1_500, 2_500, 5_000, 10_000, 50_000, 250_000,
];

/// Counters of one verb: outcomes, buckets with the one beyond, sum of microseconds.
const ROW: usize = OUTCOMES.len() + BOUNDS_US.len() + 2;
/// Counters in all.
pub const SLOTS: usize = VERBS.len() * ROW;
/// The map's value.
pub type Value = [u64; SLOTS];

/// The slot of an outcome.
#[must_use]
pub const fn outcome_slot(verb: usize, outcome: usize) -> usize {
    verb * ROW + outcome
}

/// The slot of the bucket that a duration falls into.
#[must_use]
pub fn bucket_slot(verb: usize, took_us: u64) -> usize {
    let bucket = BOUNDS_US.partition_point(|bound| *bound < took_us);
    verb * ROW + OUTCOMES.len() + bucket
}

/// The slot of the sum of durations, in microseconds.
#[must_use]
pub const fn sum_slot(verb: usize) -> usize {
    verb * ROW + ROW - 1
}

/// The buckets of a verb, the one beyond the last bound included.
#[must_use]
pub fn buckets(value: &Value, verb: usize) -> &[u64] {
    let first = verb * ROW + OUTCOMES.len();
    &value[first..=first + BOUNDS_US.len()]
}

/// The number of a verb that is counted.
#[must_use]
pub fn verb(name: &str) -> Option<usize> {
    VERBS.iter().position(|verb| *verb == name)
}

#[cfg(test)]
mod tests {
    use super::{
        BOUNDS_US, FAILED, OUTCOMES, SLOTS, VERBS, bucket_slot, buckets, outcome_slot, sum_slot,
        verb,
    };

    #[test]
    fn every_slot_is_one_counter() {
        let mut used = [false; SLOTS];
        let mut take = |slot: usize| {
            assert!(!used[slot], "slot {slot} twice");
            used[slot] = true;
        };
        for verb in 0..VERBS.len() {
            for outcome in 0..OUTCOMES.len() {
                take(outcome_slot(verb, outcome));
            }
            for bound in BOUNDS_US {
                take(bucket_slot(verb, bound));
            }
            take(bucket_slot(verb, u64::MAX));
            take(sum_slot(verb));
        }
        assert_eq!(used, [true; SLOTS]);
        assert_eq!(outcome_slot(0, FAILED) + 1, bucket_slot(0, 0));
        assert_eq!(bucket_slot(1, 250) + 1, bucket_slot(1, 251));
    }

    #[test]
    fn a_verb_and_its_buckets() {
        assert_eq!((verb("DEL"), verb("VERSION")), (Some(1), None));
        let mut value = [0; SLOTS];
        value[bucket_slot(1, 1_200)] = 7;
        assert_eq!(buckets(&value, 1)[3], 7);
        assert_eq!(buckets(&value, 1).len(), BOUNDS_US.len() + 1);
    }
}

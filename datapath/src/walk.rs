//! Walks over maps that others write to meanwhile.
//!
//! The kernel finds the next key by the one before (`get_next_key`), and begins
//! anew where that is gone. Under churn a plain walk therefore sees rows twice,
//! and may never end. Here every key counts once, and the steps are bounded: a
//! walk that is thrown back more often than that has seen what can be seen.

use std::collections::HashSet;
use std::hash::Hash;

/// Steps for each row that the map can hold.
const PATIENCE: usize = 4;

/// Each key once.
///
/// # Errors
///
/// The first one that the walk meets.
pub(crate) fn keys<K: Eq + Hash, E>(
    walk: impl Iterator<Item = Result<K, E>>,
    capacity: usize,
) -> Result<HashSet<K>, E> {
    let mut seen = HashSet::new();
    for key in walk.take(steps(capacity)) {
        seen.insert(key?);
    }
    Ok(seen)
}

/// Each row once, in the order in which it was seen first.
///
/// # Errors
///
/// As [`keys`].
pub(crate) fn rows<K: Copy + Eq + Hash, V, E>(
    walk: impl Iterator<Item = Result<(K, V), E>>,
    capacity: usize,
) -> Result<Vec<(K, V)>, E> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for row in walk.take(steps(capacity)) {
        let (key, value) = row?;
        if seen.insert(key) {
            all.push((key, value));
        }
    }
    Ok(all)
}

/// A small map may be thrown back as often as a large one.
const fn steps(capacity: usize) -> usize {
    capacity.saturating_mul(PATIENCE).saturating_add(1024)
}

#[cfg(test)]
mod tests {
    use super::{keys, rows, steps};

    /// A walk that is thrown back to the first key for ever.
    fn restarting(n: u32) -> impl Iterator<Item = Result<u32, ()>> {
        (0..n).cycle().map(Ok)
    }

    #[test]
    fn a_walk_that_never_ends_ends_and_counts_each_row_once() {
        assert_eq!(keys(restarting(7), 16).unwrap().len(), 7);
        let all = rows(restarting(7).map(|key| key.map(|key| (key, key * 2))), 16).unwrap();
        assert_eq!(all.len(), 7);
        assert_eq!(all[3], (3, 6));
    }

    #[test]
    fn an_error_ends_it() {
        let walk = [Ok(1), Err("gone"), Ok(2)];
        assert_eq!(keys(walk.into_iter(), 16).unwrap_err(), "gone");
        assert_eq!(steps(usize::MAX), usize::MAX);
    }
}

//! Looking more than once, and what the looks agree on.

use std::collections::{HashMap, HashSet};

use sockway_common::state::flag;

use super::pairs::{self, End, Pair, Policy};
use super::{Joined, UNPAIRED, numbers};

/// A pair must be seen so often.
const SEEN: usize = 2;

/// What the looks so far agree on.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// By the cookies of both ends, the lower first: how often, and the last view.
    pairs: HashMap<[u64; 2], (usize, End, End)>,
    /// The other end of each socket.
    peers: HashMap<u64, u64>,
    /// Sockets that had one other end in one look and another one in another.
    torn: HashSet<u64>,
    /// The last look.
    ends: Vec<End>,
}

impl Looks {
    /// One more.
    pub(super) fn add(&mut self, ends: Vec<End>, policy: &Policy) {
        let exact = numbers::matches(&ends);
        let near = numbers::near(&ends, &exact, policy);
        let found = exact.into_iter().chain(near).chain(held(&ends));
        for (a, b) in found {
            let (a, b) = (ends[a], ends[b]);
            let mut cookies = [a.seen.cookie, b.seen.cookie];
            cookies.sort_unstable();
            for [own, peer] in [cookies, [cookies[1], cookies[0]]] {
                if *self.peers.entry(own).or_insert(peer) != peer {
                    self.torn.extend(cookies);
                }
            }
            let times = self.pairs.get(&cookies).map_or(0, |(times, ..)| *times);
            self.pairs.insert(cookies, (times + 1, a, b));
        }
        self.ends = ends;
    }

    fn is_agreed(&self, cookies: &[u64; 2], times: usize) -> bool {
        times >= SEEN && !cookies.iter().any(|cookie| self.torn.contains(cookie))
    }

    /// Accepted ends of registered pods' connections whose other end was not found.
    fn unpaired<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = &'a End> {
        let matched: HashSet<u64> = self
            .pairs
            .iter()
            .filter(|(cookies, (times, ..))| self.is_agreed(cookies, *times))
            .flat_map(|(cookies, _)| *cookies)
            .collect();
        self.ends.iter().filter(move |end| {
            pairs::free(&end.seen)
                && !matched.contains(&end.seen.cookie)
                && policy.hop(&end.seen).is_some()
        })
    }

    /// True where one more look could tell more.
    pub(super) fn wants_more(&self, policy: &Policy) -> bool {
        self.unpaired(policy).next().is_some()
    }

    /// The pairs that may be brought in or watched; the others are counted.
    pub(super) fn judge(self, policy: &Policy, joined: &mut Joined) -> Vec<Pair> {
        joined.sockets = self.ends.len();
        joined.leave(UNPAIRED, self.unpaired(policy).count());
        let mut pairs = Vec::new();
        for (cookies, (times, a, b)) in &self.pairs {
            let free = pairs::free(&a.seen) && pairs::free(&b.seen);
            if !free || !self.is_agreed(cookies, *times) {
                continue;
            }
            match policy.judge(a, b) {
                None => continue,
                Some(Err(reason)) => joined.leave(reason.name(), 1),
                Some(Ok(pair)) => pairs.push(pair),
            }
            joined.found += 1;
        }
        pairs
    }
}

/// Pairs that an earlier run held and did not come to open: their states name each other.
pub(super) fn held(ends: &[End]) -> impl Iterator<Item = (usize, usize)> {
    let held: HashMap<u64, usize> = ends
        .iter()
        .enumerate()
        .filter(|(_, end)| end.seen.flags & flag::HELD != 0)
        .map(|(index, end)| (end.seen.cookie, index))
        .collect();
    let peer = move |index: usize| held.get(&ends[index].seen.peer_cookie).copied();
    (0..ends.len()).filter_map(move |a| {
        let b = peer(a)?;
        // Each pair once.
        (a < b && peer(b) == Some(a)).then_some((a, b))
    })
}

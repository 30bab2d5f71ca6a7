//! Which sockets may be the two ends of one connection, by their sequence numbers.

use std::collections::{HashMap, HashSet};

use sockway_common::addr::IpKey;

use super::pairs::{End, Policy};

/// Pairs of indices of ends whose numbers are each other's.
///
/// No byte is under way between two such ends, though acknowledgements may be. Numbers that
/// more than two sockets share prove nothing: all of them are left out.
pub(super) fn matches(ends: &[End]) -> Vec<(usize, usize)> {
    let mut by_numbers: HashMap<(u32, u32), Vec<usize>> = HashMap::new();
    for (index, end) in ends.iter().enumerate() {
        let numbers = (end.seen.snd_nxt, end.seen.rcv_nxt);
        by_numbers.entry(numbers).or_default().push(index);
    }
    let only = |numbers| match by_numbers.get(&numbers).map(Vec::as_slice) {
        Some([index]) => Some(*index),
        _ => None,
    };
    let mut found: Vec<(usize, usize)> = by_numbers
        .keys()
        .filter(|(snd, rcv)| snd < rcv)
        .filter_map(|(snd, rcv)| Some((only((*snd, *rcv))?, only((*rcv, *snd))?)))
        .collect();
    found.sort_unstable();
    found
}

/// How far apart the numbers of one connection's two ends may be seen, for they are not seen at
/// the same moment, bytes.
const NEAR: u32 = 4 << 20;

fn are_near(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).min(b.wrapping_sub(a)) < NEAR
}

/// Pairs of indices, beside the exact ones, of ends that are one connection by their addresses
/// and ports and whose numbers are near each other's: bytes are under way.
///
/// The joining program takes only what agrees exactly at its own moment. Where two sockets may be
/// an end's other one, all of them are left out.
pub(super) fn near(ends: &[End], exact: &[(usize, usize)], policy: &Policy) -> Vec<(usize, usize)> {
    let exact: HashSet<usize> = exact.iter().flat_map(|(a, b)| [*a, *b]).collect();
    let rest = || ends.iter().enumerate().filter(|(i, _)| !exact.contains(i));
    let mut by_source: HashMap<(IpKey, u32), Vec<usize>> = HashMap::new();
    for (index, End { seen, .. }) in rest() {
        let source = (seen.local, seen.local_port);
        by_source.entry(source).or_default().push(index);
    }
    let mut found = Vec::new();
    let mut claims: HashMap<usize, usize> = HashMap::new();
    for (index, End { seen, .. }) in rest().filter(|(_, end)| policy.hop(&end.seen).is_some()) {
        let source = (seen.remote, seen.remote_port);
        for &other in by_source.get(&source).into_iter().flatten() {
            let peer = &ends[other].seen;
            if other != index
                && are_near(peer.snd_nxt, seen.rcv_nxt)
                && are_near(peer.rcv_nxt, seen.snd_nxt)
            {
                found.push((other, index));
                *claims.entry(index).or_default() += 1;
                *claims.entry(other).or_default() += 1;
            }
        }
    }
    found.retain(|(a, b)| claims[a] == 1 && claims[b] == 1);
    found
}

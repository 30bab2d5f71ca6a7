//! Which sockets are the two ends of one connection, by their sequence numbers.

use std::collections::HashMap;

use sockway_common::addr::IpKey;
use sockway_common::flow::is_one_connection;

use super::pairs::{End, Pair, Policy};

/// The pairs that are found, each end in one at most.
///
/// REDIRECT rewrites where a connection goes and sometimes its source port, never its source
/// address. So first by source address and port, where what each end expects must be among what
/// the other has sent and not seen acknowledged: 64 random bits within a window. Then those that
/// are left by their numbers alone, which must be each other's exactly. Where two sockets would
/// do, none is taken.
pub(super) fn pairs(ends: &[End], policy: &Policy) -> Vec<Pair> {
    let mut by_source: HashMap<(IpKey, u16), Vec<usize>> = HashMap::new();
    let mut by_numbers: HashMap<(u32, u32), Vec<usize>> = HashMap::new();
    for (index, End { seen, .. }) in ends.iter().enumerate() {
        by_source
            .entry((seen.local, seen.local_port))
            .or_default()
            .push(index);
        if seen.snd_una == seen.write_seq {
            let numbers = (seen.write_seq, seen.rcv_nxt);
            by_numbers.entry(numbers).or_default().push(index);
        }
    }
    let none = Vec::new();
    let mut found: Vec<(usize, usize, Pair)> = Vec::new();
    for (index, passive) in ends.iter().enumerate() {
        let seen = &passive.seen;
        let source = (seen.remote, seen.remote_port);
        let exact = (seen.rcv_nxt, seen.write_seq);
        let candidates = by_source.get(&source).unwrap_or(&none);
        let candidates = candidates
            .iter()
            .chain(by_numbers.get(&exact).unwrap_or(&none));
        let mut fits: Vec<(usize, Pair)> = candidates
            .filter(|&&other| other != index && agree(&ends[other], passive))
            .filter_map(|&other| Some((other, policy.judge(&ends[other], passive)?)))
            .collect();
        fits.dedup_by_key(|(other, _)| *other);
        if let [(other, pair)] = fits[..] {
            found.push((other, index, pair));
        }
    }
    let mut claims: HashMap<usize, usize> = HashMap::new();
    for index in found.iter().flat_map(|(a, b, _)| [a, b]) {
        *claims.entry(*index).or_default() += 1;
    }
    found.retain(|(a, b, _)| claims[a] == 1 && claims[b] == 1);
    found.into_iter().map(|(_, _, pair)| pair).collect()
}

/// Whether what each expects next is what the other sends, as far as they are seen at two moments.
fn agree(a: &End, b: &End) -> bool {
    let one_way = |from: &End, to: &End| {
        is_one_connection(from.seen.snd_una, from.seen.write_seq, to.seen.rcv_nxt)
            || near(from.seen.write_seq, to.seen.rcv_nxt)
    };
    one_way(a, b) && one_way(b, a)
}

/// How far apart the numbers of one connection's ends may be seen, for they are not seen at the
/// same moment, bytes. The program that joins them looks again at one.
const NEAR: u32 = 4 << 20;

const fn near(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) < NEAR || b.wrapping_sub(a) < NEAR
}

//! Stages of a roll-out: whom the operator's settings leave out.
//!
//! They are final, so that no pod's annotation can widen a stage: a stage bounds what can go wrong.

use sockway_common::part::LeftOut;
use sockway_datapath::section::Section;

/// Why the settings leave a pod out; `None` where they do not. `id`: the pod's uid, or what else is known of it.
#[must_use]
pub fn left_out(namespace: &str, id: &str, section: &Section) -> Option<LeftOut> {
    let Section {
        exclude_namespaces,
        only_namespaces,
        percent,
        ..
    } = section;
    if exclude_namespaces.iter().any(|one| one == namespace) {
        return Some(LeftOut::Excluded);
    }
    if !only_namespaces.is_empty() && !only_namespaces.iter().any(|one| one == namespace) {
        return Some(LeftOut::OtherNamespace);
    }
    (!is_among(id, *percent)).then_some(LeftOut::Percent(*percent))
}

/// Whether an id is among a share of all, per cent. Who is among a share is among every larger one.
#[must_use]
pub fn is_among(id: &str, percent: u8) -> bool {
    /// Parts that all ids are divided into: fine enough for a per cent.
    const PARTS: u64 = 10_000;
    hash(id) % PARTS < u64::from(percent) * (PARTS / 100)
}

/// The same in every version and on every node: FNV-1a, 64 bits, and `MurmurHash3`'s last step, for the
/// low bits of FNV say little of short texts that differ in their last letter.
fn hash(id: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = id.bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    for by in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(by);
    }
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use sockway_common::part::LeftOut;
    use sockway_datapath::section::Section;

    use super::{is_among, left_out};

    /// Ids as uids are written, and ids that differ in their ends only, as numbers in a row do.
    fn uids(seed: u64) -> [Vec<String>; 2] {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let random = (0..10_000).map(|_| {
            let (a, b) = (next(), next());
            format!(
                "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
                a >> 32,
                a >> 16 & 0xffff,
                a & 0xfff,
                b >> 52,
                b & 0xffff_ffff_ffff
            )
        });
        [
            random.collect(),
            (seed % 1000..)
                .take(10_000)
                .map(|n| n.to_string())
                .collect(),
        ]
    }

    proptest! {
        #[test]
        fn the_share_is_within_two_points(seed in any::<u64>(), percent in 0..=100_u8) {
            for ids in uids(seed) {
                let among = ids.iter().filter(|id| is_among(id, percent)).count();
                let wanted = usize::from(percent) * 100;
                assert!(among.abs_diff(wanted) <= 200, "{among} of 10000 for {percent} %");
            }
        }

        #[test]
        fn who_is_in_stays_in_as_the_share_grows(id in ".{0,64}", less in 0..=100_u8, more in 0..=100_u8) {
            let (less, more) = (less.min(more), less.max(more));
            assert!(!is_among(&id, less) || is_among(&id, more));
            assert!(is_among(&id, 100) && !is_among(&id, 0));
        }
    }

    #[test]
    fn every_version_draws_the_same() {
        // Another hash would turn a stage over with an upgrade.
        let uid = "6a2a3c54-8a1e-4f0f-9c39-1f0d3f2a7b10";
        let first = (0..=100).find(|&percent| is_among(uid, percent));
        assert_eq!(first, Some(FIRST));
    }

    const FIRST: u8 = 61;

    #[test]
    fn excluded_then_only_then_the_share() {
        let section = |only: &[&str], percent| Section {
            exclude_namespaces: vec!["kube-system".to_owned()],
            only_namespaces: only.iter().map(|&name| name.to_owned()).collect(),
            percent,
            ..Section::default()
        };
        let why = |namespace: &str, only: &[&str], percent| {
            left_out(namespace, "u1", &section(only, percent))
        };
        assert_eq!(why("shop", &[], 100), None);
        assert_eq!(why("shop", &["shop"], 100), None);
        assert_eq!(why("shop", &["bank"], 100), Some(LeftOut::OtherNamespace));
        assert_eq!(why("shop", &["shop"], 0), Some(LeftOut::Percent(0)));
        // Both lists: the exclusion is said, and holds.
        assert_eq!(
            why("kube-system", &["kube-system"], 100),
            Some(LeftOut::Excluded)
        );
        // Nameless, as runtimes without Kubernetes call: of no namespace that is listed.
        assert_eq!(why("", &["shop"], 100), Some(LeftOut::OtherNamespace));
    }
}

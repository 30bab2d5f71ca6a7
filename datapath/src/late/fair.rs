//! Who comes in first where more qualify than one look can take: each pod has its share of a look,
//! so that none that opens connections without end keeps others out.

use std::collections::HashMap;

use sockway_common::addr::IpKey;
use sockway_common::end::EndRow;

/// Ends that one look takes at most. Each look reads the descriptors of all of the node's processes twice, however few
/// ends it takes, so they are many; they take some 500 bytes each meanwhile.
pub(super) const MOST: usize = 16_384;

/// Chooses from what passes by.
#[derive(Debug)]
pub(super) struct Fair {
    most: usize,
    each: usize,
    pods: HashMap<IpKey, usize>,
    /// Within their pods' shares.
    first: Vec<(u64, EndRow)>,
    /// Beyond them: taken where others leave room.
    more: Vec<(u64, EndRow)>,
}

impl Fair {
    /// For a look at which as many pods have ends as at the last one.
    pub(super) fn new(pods: usize) -> Self {
        Self::of(MOST, pods)
    }

    fn of(most: usize, pods: usize) -> Self {
        Self {
            most,
            each: (most / pods.max(1)).max(1),
            pods: HashMap::new(),
            first: Vec::new(),
            more: Vec::new(),
        }
    }

    /// An end that qualifies.
    pub(super) fn add(&mut self, cookie: u64, row: EndRow) {
        let of_pod = self.pods.entry(row.pod).or_default();
        *of_pod += 1;
        let list = if *of_pod <= self.each {
            &mut self.first
        } else {
            &mut self.more
        };
        if list.len() < self.most {
            list.push((cookie, row));
        }
    }

    /// How many pods had ends.
    pub(super) fn pods(&self) -> usize {
        self.pods.len()
    }

    /// Whether there are more than are taken.
    pub(super) fn is_cut(&self) -> bool {
        self.first.len() + self.more.len() > self.most
    }

    /// Those that are taken.
    pub(super) fn take(self) -> Vec<(u64, EndRow)> {
        let Self {
            most,
            mut first,
            more,
            ..
        } = self;
        first.extend(more);
        first.truncate(most);
        first
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};
    use sockway_common::addr::IpKey;
    use sockway_common::end::EndRow;

    use super::Fair;

    fn row(pod: u16) -> EndRow {
        EndRow {
            pod: IpKey::from_be32(u32::from(pod) + 1),
            ..EndRow::default()
        }
    }

    proptest! {
        #[test]
        fn each_pod_has_its_share_and_no_room_is_left(ends in prop::collection::vec(0..12_u16, 0..300), most in 12..200_usize) {
            let look = |pods| {
                let mut fair = Fair::of(most, pods);
                for (cookie, pod) in ends.iter().enumerate() {
                    fair.add(cookie as u64, row(*pod));
                }
                fair
            };
            let fair = look(look(0).pods());
            let pods = fair.pods();
            assert_eq!(fair.is_cut(), ends.len() > most);
            let taken = fair.take();
            assert_eq!(taken.len(), ends.len().min(most));
            for pod in 0..12 {
                let has = ends.iter().filter(|of| **of == pod).count();
                let got = taken.iter().filter(|(_, end)| end.pod == row(pod).pod).count();
                assert!(got >= has.min(most / pods.max(1)), "{got} of {has} ends, {most} for {pods} pods");
            }
        }
    }
}

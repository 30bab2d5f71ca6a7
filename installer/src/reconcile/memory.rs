//! What one process remembers from one comparison to the next.

use std::collections::HashSet;

use sockway_common::pod::{OwnerKey, SandboxRow};

/// What was seen by earlier calls of the same process.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Registered pods whose namespaces, by inode number, could be seen: gone now, they are gone.
    seen: HashSet<(OwnerKey, u64)>,
}

impl Memory {
    /// Whether a row's namespace could be seen before.
    pub(super) fn has_seen(&self, owner: &OwnerKey, row: &SandboxRow) -> bool {
        self.seen.contains(&(*owner, row.netns_inode))
    }

    /// Notes a pod that was registered in a namespace that can be seen.
    pub(super) fn saw(&mut self, owner: OwnerKey, netns_inode: u64) {
        self.seen.insert((owner, netns_inode));
    }

    /// Takes in what is `visible` of `rows`, those that stay. Who was seen once stays known for as long as it has a
    /// row: one that is gone may stay for another look, because it is young.
    pub(super) fn note(&mut self, rows: &[(OwnerKey, SandboxRow)], visible: &HashSet<u64>) {
        let mut rows: HashSet<(OwnerKey, u64)> = rows
            .iter()
            .map(|(owner, row)| (*owner, row.netns_inode))
            .collect();
        rows.retain(|row| visible.contains(&row.1) || self.seen.contains(row));
        self.seen = rows;
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;
    use sockway_common::pod::{OwnerKey, SandboxRow};
    use std::collections::HashSet;

    #[test]
    fn who_was_seen_is_known_until_its_row_is_gone() {
        let owner = |id| OwnerKey::new(id, "eth0");
        let row = |id, netns_inode| {
            let row = SandboxRow {
                netns_inode,
                ..SandboxRow::default()
            };
            (owner(id), row)
        };
        let (gone, never) = (row("gone", 7), row("never", 8));
        let mut memory = Memory::default();
        memory.note(&[gone, never], &HashSet::from([7, 9]));
        for _ in 0..3 {
            memory.note(&[gone, never], &HashSet::from([9]));
            assert_eq!(memory.seen, HashSet::from([(owner("gone"), 7)]));
        }
        memory.note(&[never], &HashSet::from([9]));
        memory.note(&[gone, never], &HashSet::from([9]));
        assert!(memory.seen.is_empty(), "another row of the same pod");
    }
}

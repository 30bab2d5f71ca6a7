//! Which rows are missing and which are stale, from what is seen on the node.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use sockway_common::pod::{OwnerKey, SandboxRow};

/// A row without a known namespace may belong to an ADD that is still running: its result is
/// cached only after the last plugin of the chain.
const YOUNG: Duration = Duration::from_mins(2);

/// What is seen on the node.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Live attachments of the cache: their namespace's inode.
    pub cached: HashMap<OwnerKey, u64>,
    /// Inodes of all namespaces; `None` where they cannot be seen.
    pub namespaces: Option<HashSet<u64>>,
}

impl Seen {
    /// Attachments of the cache that have no row.
    pub fn missing<'a>(
        &'a self,
        rows: &'a HashSet<OwnerKey>,
    ) -> impl Iterator<Item = OwnerKey> + 'a {
        self.cached
            .keys()
            .copied()
            .filter(|owner| !rows.contains(owner))
    }

    /// Whether a row's pod may still be there. In doubt it may.
    pub fn live(&self, owner: &OwnerKey, row: &SandboxRow, now: SystemTime) -> bool {
        if self.cached.contains_key(owner) {
            return true;
        }
        let since = SystemTime::UNIX_EPOCH + Duration::from_nanos(row.since_unix_ns);
        if now.duration_since(since).unwrap_or_default() < YOUNG {
            return true;
        }
        let Some(namespaces) = &self.namespaces else {
            return true;
        };
        if row.netns_inode == 0 {
            return false;
        }
        // The kernel hands inode numbers out again: a namespace that the cache
        // knows as another pod's does not keep this one alive.
        let taken = self.cached.values().any(|&inode| inode == row.netns_inode);
        namespaces.contains(&row.netns_inode) && !taken
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;
    use sockway_common::pod::{OwnerKey, SandboxRow};
    use std::collections::{HashMap, HashSet};
    use std::time::{Duration, SystemTime};

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(1)
    }

    fn row(inode: u64) -> SandboxRow {
        SandboxRow {
            netns_inode: inode,
            since_unix_ns: 1,
            ..SandboxRow::default()
        }
    }

    #[test]
    fn missing_rows() {
        let (a, b) = (OwnerKey::from_bytes([1; 16]), OwnerKey::from_bytes([2; 16]));
        let seen = Seen {
            cached: HashMap::from([(a, 1), (b, 2)]),
            namespaces: None,
        };
        let rows = HashSet::from([a]);
        assert_eq!(seen.missing(&rows).collect::<Vec<_>>(), [b]);
    }

    #[test]
    fn live_rows() {
        let (a, b) = (OwnerKey::from_bytes([1; 16]), OwnerKey::from_bytes([2; 16]));
        let seen = Seen {
            cached: HashMap::from([(a, 7)]),
            namespaces: Some(HashSet::from([7, 8])),
        };
        assert!(seen.live(&a, &row(0), now()), "cached");
        assert!(seen.live(&b, &row(8), now()), "its namespace is there");
        assert!(
            !seen.live(&b, &row(7), now()),
            "its namespace's number is another pod's now"
        );
        assert!(!seen.live(&b, &row(9), now()), "its namespace is gone");
        assert!(!seen.live(&b, &row(0), now()), "nothing known");
        let young = SandboxRow {
            since_unix_ns: 3_599_000_000_000,
            ..row(9)
        };
        assert!(seen.live(&b, &young, now()), "may still be in its ADD");
        let blind = Seen {
            namespaces: None,
            ..seen
        };
        assert!(blind.live(&b, &row(9), now()), "namespaces cannot be seen");
    }
}

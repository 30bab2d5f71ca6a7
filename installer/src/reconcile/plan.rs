//! Which rows are missing and which are stale, from what is seen on the node.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use sockway_common::pod::{OwnerKey, SandboxRow};

/// A row whose namespace cannot be seen may belong to an ADD that is still running: its result is
/// cached only after the last plugin of the chain.
const YOUNG: Duration = Duration::from_mins(2);
/// The same where it would be seen: longer than clocks differ.
const JUST_NOW: Duration = Duration::from_secs(1);

/// What a runtime's cache says of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cached {
    /// Its namespace is there: the inode number.
    At(u64),
    /// It is in the cache, and its namespace cannot be seen from here.
    Somewhere,
    /// The directory of its namespace can be seen, and it is not in there any more.
    Gone,
}

/// What is seen on the node.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The attachments of all caches.
    pub cached: HashMap<OwnerKey, Cached>,
    /// Inodes of the namespaces that can be seen.
    pub namespaces: HashSet<u64>,
    /// Whether these are all of the node's.
    pub complete: bool,
}

/// Whether a row's pod is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It is, as far as can be told.
    Lives,
    /// Nothing is seen of it, and its ADD may not have ended.
    Young,
    /// Nothing speaks for it, and nothing against it either: pods' namespaces may be elsewhere.
    InDoubt,
    /// It is gone.
    Gone,
}

impl Seen {
    /// Attachments of the cache that have no row.
    pub fn missing<'a>(
        &'a self,
        rows: &'a HashSet<OwnerKey>,
    ) -> impl Iterator<Item = OwnerKey> + 'a {
        let seen = self.cached.iter();
        let alive = seen.filter(|(_, cached)| matches!(cached, Cached::At(_)));
        alive
            .map(|(owner, _)| *owner)
            .filter(|owner| !rows.contains(owner))
    }

    /// Whether namespaces are seen even before a process is in them: every cached one was found where its
    /// cache has it, and there are some, so the runtime's mounts are seen.
    fn sees_mounts(&self) -> bool {
        let at = |cached: &Cached| matches!(cached, Cached::At(_));
        self.complete
            && self.cached.values().any(at)
            && !self.cached.values().any(|&c| c == Cached::Somewhere)
    }

    /// Whether a row's pod is there. Gone it is only where its namespace would be seen: `expected`
    /// says whether it was. `now`: before all of this was looked at.
    pub fn life(
        &self,
        owner: &OwnerKey,
        row: &SandboxRow,
        expected: bool,
        now: SystemTime,
    ) -> Life {
        let cached = self.cached.get(owner);
        if matches!(cached, Some(Cached::At(_))) {
            return Life::Lives;
        }
        // The kernel hands inode numbers out again: a namespace that the cache
        // knows as another pod's does not keep this one alive.
        let taken = Cached::At(row.netns_inode);
        let taken = self.cached.values().any(|&cached| cached == taken);
        if self.namespaces.contains(&row.netns_inode) && !taken {
            return Life::Lives;
        }
        let would_be_seen = !taken && row.netns_inode != 0 && (expected || self.sees_mounts());
        let young = if would_be_seen { JUST_NOW } else { YOUNG };
        let since = SystemTime::UNIX_EPOCH + Duration::from_nanos(row.since_unix_ns);
        if now.duration_since(since).unwrap_or_default() < young {
            return Life::Young;
        }
        match cached {
            // A cache forgets an attachment with its DEL.
            Some(Cached::Somewhere) => Life::Lives,
            Some(_) => Life::Gone,
            None if taken || self.complete || expected => Life::Gone,
            None => Life::InDoubt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cached, Life, Seen};
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
        let [a, b, c] = [1, 2, 3].map(|n| OwnerKey::from_bytes([n; 16]));
        let seen = Seen {
            cached: HashMap::from([
                (a, Cached::At(1)),
                (b, Cached::At(2)),
                (c, Cached::Somewhere),
            ]),
            ..Seen::default()
        };
        let rows = HashSet::from([a]);
        assert_eq!(seen.missing(&rows).collect::<Vec<_>>(), [b]);
    }

    #[test]
    fn rows_of_the_living() {
        let [a, b, c, d] = [1, 2, 3, 4].map(|n| OwnerKey::from_bytes([n; 16]));
        let seen = Seen {
            cached: HashMap::from([
                (a, Cached::At(7)),
                (c, Cached::Somewhere),
                (d, Cached::Gone),
            ]),
            namespaces: HashSet::from([7, 8]),
            complete: false,
        };
        let life = |owner, inode, expected| seen.life(owner, &row(inode), expected, now());
        assert_eq!(life(&a, 0, true), Life::Lives, "cached");
        assert_eq!(life(&b, 8, true), Life::Lives, "its namespace is there");
        assert_eq!(life(&b, 7, false), Life::Gone, "its number is another's");
        assert_eq!(life(&b, 9, true), Life::Gone, "it was there, and is gone");
        assert_eq!(life(&b, 9, false), Life::InDoubt, "it may be elsewhere");
        assert_eq!(life(&c, 9, true), Life::Lives, "the cache knows it");
        assert_eq!(life(&d, 9, false), Life::Gone, "its place is empty");
        assert_eq!(life(&d, 8, false), Life::Lives, "it is elsewhere");
        let aged = |ms: u64| SandboxRow {
            since_unix_ns: (3_600_000 - ms) * 1_000_000,
            ..row(9)
        };
        let life = |seen: &Seen, ms, expected| seen.life(&b, &aged(ms), expected, now());
        assert_eq!(life(&seen, 1500, false), Life::Young, "may be in its ADD");
        assert_eq!(life(&seen, 1500, true), Life::Gone, "it was there");
        assert_eq!(
            life(&seen, 500, true),
            Life::Young,
            "it may have come since"
        );
        let all = Seen {
            complete: true,
            ..seen
        };
        assert_eq!(life(&all, 1500, false), Life::Young, "mounts are elsewhere");
        let mounts = Seen {
            cached: HashMap::from([(a, Cached::At(7)), (d, Cached::Gone)]),
            ..all.clone()
        };
        assert_eq!(life(&mounts, 1500, false), Life::Gone, "it would be seen");
        let second = SandboxRow {
            netns_inode: 7,
            ..aged(1500)
        };
        let of_second = mounts.life(&b, &second, false, now());
        assert_eq!(of_second, Life::Young, "another interface of that pod");
        assert_eq!(all.life(&b, &row(9), false, now()), Life::Gone);
        assert_eq!(all.life(&c, &row(9), false, now()), Life::Lives);
    }
}

//! Pairing and judging, without a kernel.

use std::collections::HashMap;

use sockway_common::addr::IpKey;
use sockway_common::counters::Reason;
use sockway_common::existing::{Seen, fact, step};
use sockway_common::pair::{ENVOY_UID, ReaderKey, hop};
use sockway_common::pod::PodRow;
use sockway_common::reader::{ReaderRow, SERVER, seen};
use sockway_common::scope;
use sockway_common::state::flag;

use super::Joined;
use super::find::{Looks, held};
use super::numbers::{matches, near};
use super::pairs::{End, Policy, free};

const A: IpKey = IpKey::from_v4([10, 0, 0, 1]);
const B: IpKey = IpKey::from_v4([10, 0, 0, 2]);
const LOCALHOST: IpKey = IpKey::from_v4([127, 0, 0, 1]);
const ENVOY: IpKey = IpKey::from_v4([127, 0, 0, 6]);

fn end(cookie: u64, numbers: (u32, u32), local: (IpKey, u32), remote: (IpKey, u32)) -> End {
    End {
        place: 0,
        seen: Seen {
            cookie,
            local: local.0,
            local_port: local.1,
            remote: remote.0,
            remote_port: remote.1,
            snd_nxt: numbers.0,
            rcv_nxt: numbers.1,
            uid: ENVOY_UID,
            facts: fact::NONBLOCKING,
            ..Seen::default()
        },
    }
}

/// Envoy to Envoy: the connecting end's port was not rewritten, its destination was.
fn inbound() -> (End, End) {
    (
        end(1, (100, 900), (A, 40_000), (B, 8080)),
        end(2, (900, 100), (B, 15_006), (A, 40_000)),
    )
}

/// Envoy to its application.
fn app() -> (End, End) {
    (
        end(1, (100, 900), (ENVOY, 40_000), (B, 8080)),
        end(2, (900, 100), (B, 8080), (ENVOY, 40_000)),
    )
}

fn policy(scope: u32) -> Policy {
    let row = PodRow {
        outbound_port: 15_001,
        inbound_port: 15_006,
        scope,
        ..PodRow::default()
    };
    Policy {
        pods: HashMap::from([(A, row), (B, row)]),
        readers: HashMap::new(),
    }
}

/// Why two ends are left to TCP; `None` where they are not, or no registration speaks of them.
fn reason(policy: &Policy, a: &End, b: &End) -> Option<Reason> {
    policy.judge(a, b).and_then(Result::err)
}

#[test]
fn numbers_pair_and_shared_ones_do_not() {
    let (a, b) = inbound();
    let other = end(3, (5, 6), (A, 1), (B, 2));
    assert_eq!(matches(&[a, other, b]), [(0, 2)]);
    let twin = end(4, (900, 100), (B, 15_006), (A, 40_001));
    assert_eq!(matches(&[a, b, twin]), [], "two sockets claim the numbers");
    let twin = end(4, (100, 900), (A, 40_001), (B, 8080));
    assert_eq!(matches(&[a, b, twin]), [], "on the other side too");
}

#[test]
fn bytes_under_way_keep_ends_apart() {
    let (mut a, b) = inbound();
    a.seen.snd_nxt += 1;
    assert_eq!(matches(&[a, b]), []);
}

#[test]
fn near_numbers_pair_where_the_ports_agree() {
    let policy = policy(scope::ALL);
    let (mut a, b) = inbound();
    a.seen.snd_nxt = a.seen.snd_nxt.wrapping_sub(5000);
    assert_eq!(near(&[a, b], &[], &policy), [(0, 1)], "wrapped around");
    assert_eq!(near(&[a, b], &[(0, 1)], &policy), [], "found already");
    let mut twin = a;
    twin.seen.cookie = 7;
    assert_eq!(near(&[a, b, twin], &[], &policy), [], "two may be it");
    let mut far = a;
    far.seen.rcv_nxt += 1 << 30;
    assert_eq!(near(&[far, b], &[], &policy), []);
    let mut rewritten = a;
    rewritten.seen.local_port += 1;
    assert_eq!(near(&[rewritten, b], &[], &policy), []);
}

/// What some looks agree on, of these ends.
fn agreed(looks: &[Vec<End>]) -> usize {
    let (mut all, mut joined) = (Looks::default(), Joined::default());
    for ends in looks {
        all.add(ends.clone(), &policy(scope::ALL));
    }
    all.judge(&policy(scope::ALL), &mut joined).len()
}

#[test]
fn looks_must_agree() {
    let (a, b) = inbound();
    let further = |end: End, sent, received| {
        let mut seen = end.seen;
        seen.snd_nxt += sent;
        seen.rcv_nxt += received;
        End { seen, ..end }
    };
    assert_eq!(agreed(&[vec![a, b]]), 0, "once is not enough");
    assert_eq!(agreed(&[vec![a, b], vec![a, b]]), 1);
    let moved = vec![further(a, 7, 9), further(b, 9, 7)];
    assert_eq!(agreed(&[vec![a, b], moved.clone()]), 1, "both moved on");
    let elsewhere = vec![further(a, 1 << 30, 0), b];
    assert_eq!(agreed(&[vec![a, b], elsewhere.clone()]), 0);
    assert_eq!(agreed(&[vec![a, b], elsewhere, moved.clone()]), 1);
    let other = End {
        seen: Seen {
            cookie: 9,
            ..b.seen
        },
        ..b
    };
    let torn = [vec![a, b], vec![a, other], vec![a, b], moved];
    assert_eq!(agreed(&torn), 0, "another end in another look");
}

#[test]
fn both_ways_round_give_the_same_pair() {
    let (a, b) = inbound();
    for (x, y) in [(a, b), (b, a)] {
        let pair = policy(scope::AUTO).judge(&x, &y).unwrap().unwrap();
        assert_eq!(pair.cookies(), [1, 2]);
        let [(_, active), (_, passive)] = pair.rows(step::HOLD);
        assert_eq!((active.peer_cookie, passive.peer_cookie), (2, 1));
        assert_eq!((active.hop, active.pod), (hop::INBOUND, B));
        assert_eq!((active.flags, passive.flags), (flag::ACTIVE, 0));
    }
}

#[test]
fn addresses_must_agree_with_the_numbers() {
    let (mut a, b) = inbound();
    a.seen.local = LOCALHOST;
    assert!(policy(scope::ALL).judge(&a, &b).is_none());
    let (mut a, b) = app();
    a.place = 1;
    let judged = policy(scope::ALL).judge(&a, &b);
    assert!(judged.is_none(), "127.0.0.6 of another namespace");
    let (mut a, b) = app();
    a.seen.local_port += 1;
    let judged = policy(scope::ALL).judge(&a, &b);
    assert!(judged.is_none(), "no NAT between Envoy and its application");
}

#[test]
fn what_no_registration_speaks_of_is_left_alone() {
    let (a, b) = inbound();
    let mut none = policy(scope::ALL);
    none.pods.remove(&B);
    assert!(none.judge(&a, &b).is_none());
    let mut b = b;
    b.seen.local_port = 8080;
    assert!(policy(scope::ALL).judge(&a, &b).is_none(), "no Envoy port");
}

#[test]
fn scopes() {
    let (a, b) = inbound();
    assert_eq!(reason(&policy(scope::OFF), &a, &b), Some(Reason::Scope));
    assert!(policy(scope::PROXY).judge(&a, &b).unwrap().is_ok());
    let mut mixed = policy(scope::ALL);
    mixed.pods.get_mut(&A).unwrap().scope = scope::OFF;
    assert_eq!(reason(&mixed, &a, &b), Some(Reason::Scope));
    let (a, b) = app();
    assert_eq!(reason(&policy(scope::PROXY), &a, &b), Some(Reason::Scope));
}

#[test]
fn sockets_that_cannot_take_it_stay() {
    for (fact, set, why) in [
        (fact::NONBLOCKING, false, Reason::Blocking),
        (fact::ULP, true, Reason::Ulp),
        (fact::TCP_ONLY, true, Reason::Guarded),
    ] {
        for at in 0..2 {
            let (a, b) = inbound();
            let mut ends = [a, b];
            if set {
                ends[at].seen.facts |= fact;
            } else {
                ends[at].seen.facts &= !fact;
            }
            let left = reason(&policy(scope::ALL), &ends[0], &ends[1]);
            assert_eq!(left, Some(why), "in every scope");
        }
    }
}

#[test]
fn applications_must_be_known_as_fit() {
    let (a, b) = app();
    let key = ReaderKey {
        ip: B,
        port: 8080,
        kind: SERVER,
        ..ReaderKey::default()
    };
    let mut policy = policy(scope::AUTO);
    let observed = |policy: &Policy| policy.judge(&a, &b).unwrap().map(|pair| pair.observe);
    assert_eq!(observed(&policy), Ok(true));
    for (bits, why) in [
        (seen::FIT, None),
        (seen::FIT | seen::EDGE, None),
        (seen::FIT | seen::BLOCKING, Some(Reason::Blocking)),
        (seen::FIT | seen::FIONREAD, Some(Reason::Guarded)),
    ] {
        let row = ReaderRow {
            seen: bits,
            reads: 8,
            ..ReaderRow::default()
        };
        policy.readers.insert(key, row);
        assert_eq!(reason(&policy, &a, &b), why);
        if why.is_none() {
            assert_eq!(
                observed(&policy),
                Ok(bits & seen::EDGE != 0),
                "who reads to the end"
            );
        }
    }
}

#[test]
fn only_free_sockets() {
    let (End { seen, .. }, _) = inbound();
    assert!(free(&seen));
    let known = |flags| Seen {
        facts: seen.facts | fact::KNOWN,
        flags,
        ..seen
    };
    assert!(!free(&known(flag::ACTIVE)), "joined already");
    assert!(free(&known(flag::OBSERVED | flag::ACTIVE)));
    assert!(free(&known(flag::HELD)));
}

#[test]
fn pairs_that_were_held_find_each_other_when_busy() {
    let (mut a, mut b) = inbound();
    a.seen.snd_nxt += 1;
    for (end, peer) in [(&mut a, 2), (&mut b, 1)] {
        end.seen.facts = fact::KNOWN;
        end.seen.flags = flag::HELD;
        end.seen.peer_cookie = peer;
    }
    assert_eq!(matches(&[a, b]), []);
    assert_eq!(held(&[a, b]).collect::<Vec<_>>(), [(0, 1)]);
    b.seen.peer_cookie = 7;
    assert_eq!(held(&[a, b]).count(), 0);
}

use std::time::{Duration, Instant};

use super::Rhythm;

const MS: Duration = Duration::from_millis(1);

/// A simulated node: `write_at` says when another program takes our entry out. Hands back how
/// often we wrote, the longest time without our entry, and whether the entry is there at the end.
fn simulate(seconds: u32, write_at: impl Fn(u32) -> bool) -> (u32, Duration, bool) {
    let start = Instant::now();
    let mut rhythm = Rhythm::new(start);
    let (mut whole, mut writes) = (true, 0);
    let (mut broken_since, mut longest) = (start, Duration::ZERO);
    for ms in 0..seconds * 1000 {
        let now = start + MS * ms;
        if write_at(ms) {
            if whole {
                broken_since = now;
            }
            whole = false;
            rhythm.event(now);
        }
        if rhythm.next_look() <= now {
            rhythm.looking(now);
            if !whole && rhythm.may_repair(now) {
                writes += 1;
                longest = longest.max(now - broken_since);
                whole = true;
                // Our own rename is an event too.
                rhythm.event(now);
            }
        }
    }
    (writes, longest, whole)
}

#[test]
fn drift_is_repaired_at_once() {
    let (writes, longest, whole) = simulate(60, |ms| ms % 20_000 == 5_000);
    assert_eq!((writes, whole), (3, true));
    assert!(longest <= Duration::from_millis(150), "{longest:?}");
}

#[test]
fn a_stubborn_writer_makes_no_storm() {
    for period in [1, 10, 90, 110, 300, 700, 1_500] {
        let (writes, longest, whole) = simulate(63, |ms| ms < 60_000 && ms % period == 0);
        assert!(writes < 40, "{writes} writes against one every {period} ms");
        assert!(
            longest <= Duration::from_secs(2),
            "{longest:?} against one every {period} ms"
        );
        assert!(whole, "one every {period} ms");
    }
}

#[test]
fn a_quiet_node_is_left_alone() {
    let start = Instant::now();
    let mut rhythm = Rhythm::new(start);
    let mut looks = 0;
    for ms in 0..600_000 {
        let now = start + MS * ms;
        if rhythm.next_look() <= now {
            rhythm.looking(now);
            looks += 1;
        }
    }
    assert_eq!(looks, 20);
}

#[test]
fn what_cannot_be_done_yet_is_tried_again() {
    let start = Instant::now();
    let mut rhythm = Rhythm::new(start);
    rhythm.looking(start);
    rhythm.retry(start, Duration::from_secs(2));
    assert_eq!(rhythm.next_look(), start + Duration::from_secs(2));
}

/// 5 000 nodes for ten minutes each, with the events of a bad day: terwayd restarts (two writes in
/// a row), another installer that fights for a while, a fleet-wide roll-out in the third minute.
#[test]
fn five_thousand_nodes() {
    let (mut total, mut most, mut slowest) = (0, 0, Duration::ZERO);
    for node in 0..5_000_u32 {
        // A fixed sequence that differs from node to node (Knuth's multiplicative hash).
        let own = node.wrapping_mul(2_654_435_761);
        let (writes, longest, whole) = events(own);
        assert!(whole, "node {node}");
        total += writes.len();
        most = most.max(most_in_a_minute(&writes));
        slowest = slowest.max(longest);
    }
    println!(
        "5 000 nodes, 10 minutes each: {total} repairs in all, at most {most} in a minute on one node, \
         each within {} ms",
        slowest.as_millis()
    );
    assert!(most < 40, "{most} writes in a minute on one node");
    assert!(total < 5_000 * 20, "{total} writes in all");
    assert!(slowest <= Duration::from_secs(2), "{slowest:?}");
}

fn most_in_a_minute(writes: &[Instant]) -> usize {
    let within = |first: &Instant| {
        writes
            .iter()
            .filter(|w| *w >= first && **w < *first + Duration::from_mins(1))
            .count()
    };
    writes.iter().map(within).max().unwrap_or(0)
}

/// Ten minutes of one node, from event to event rather than from millisecond to millisecond.
fn events(own: u32) -> (Vec<Instant>, Duration, bool) {
    let mut at: Vec<u64> = vec![120_000 + u64::from(own % 30_000)];
    at.push(at[0] + 40);
    for restart in 0..u64::from(own % 3) {
        at.push(200_000 + restart * 60_000 + u64::from(own % 1_000));
    }
    if own.is_multiple_of(7) {
        at.extend((0..u64::from(own % 400)).map(|n| 400_000 + n * (20 + u64::from(own % 200))));
    }
    at.sort_unstable();
    let start = Instant::now();
    let mut rhythm = Rhythm::new(start);
    let (mut next, mut writes) = (0, Vec::new());
    let (mut broken, mut longest) = (None, Duration::ZERO);
    let end = start + Duration::from_mins(10);
    loop {
        let event = at.get(next).map(|ms| start + Duration::from_millis(*ms));
        let look = rhythm.next_look();
        let now = event.map_or(look, |event| event.min(look));
        if now > end {
            return (writes, longest, broken.is_none());
        }
        if event == Some(now) {
            next += 1;
            broken.get_or_insert(now);
            rhythm.event(now);
        }
        if rhythm.next_look() <= now {
            rhythm.looking(now);
            if let Some(since) = broken
                && rhythm.may_repair(now)
            {
                writes.push(now);
                longest = longest.max(now - since);
                broken = None;
                rhythm.event(now);
            }
        }
    }
}

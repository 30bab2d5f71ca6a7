//! Two ends of a connection under any order of events: the very functions that the
//! programs decide with must keep order, lose nothing and keep the backlog bounded.
//!
//! The kernel's part is a model ([`model`]): redirected bytes have a queue of their
//! own that is read first, TCP's arrive, are acknowledged and are copied later; ends come in
//! late, open, are closed and leave, each at any moment of sends and reads. That the
//! test can fail is shown by withholding, one at a time, what the rules look at.

mod model;

use model::{Event, Start, Told, World};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use sockway_common::program::{FIT_READS, ProgramRow, Read, is_proven, sign};

/// Redirected bytes that may wait, bytes: small, so that short runs reach it.
const LIMIT: u32 = 128 << 10;

fn size() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 1_u32..200,
        3 => 1000_u32..5000,
        2 => 16_000_u32..70_000,
        1 => 100_000_u32..300_000,
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let side = 0_usize..2;
    let bytes = prop_oneof![
        8 => (side.clone(), size()).prop_map(|(side, size)| Event::Send(side, size)),
        4 => (side.clone(), size()).prop_map(|(side, size)| Event::Decide(side, size)),
        4 => side.clone().prop_map(Event::Enqueue),
        4 => (side.clone(), 1_usize..4).prop_map(|(side, n)| Event::Arrive(side, n)),
        4 => side.clone().prop_map(Event::Acknowledge),
        2 => side.clone().prop_map(Event::Call),
        3 => (side.clone(), size()).prop_map(|(side, size)| Event::Enter(side, size)),
        3 => (side.clone(), size()).prop_map(|(side, size)| Event::Copy(side, size)),
        3 => side.clone().prop_map(Event::Return),
        4 => side.clone().prop_map(Event::Deliver),
        3 => side.clone().prop_map(Event::ReadAll),
        1 => side.clone().prop_map(Event::Finish),
    ];
    let ends = prop_oneof![
        1 => side.clone().prop_map(Event::PeerKnown),
        1 => side.clone().prop_map(Event::Prove),
        3 => side.clone().prop_map(Event::Join),
        3 => side.clone().prop_map(Event::Open),
        2 => side.clone().prop_map(Event::Close),
        3 => side.clone().prop_map(Event::Check),
        3 => side.clone().prop_map(Event::Delete),
        6 => side.clone().prop_map(Event::ComeIn),
        3 => side.prop_map(Event::Leave),
    ];
    prop_oneof![2 => bytes, 1 => ends]
}

/// Events, and how the run begins: with both ends in, one, or none.
fn run() -> impl Strategy<Value = (Vec<Event>, Start)> {
    let buffers = prop_oneof![Just(128_u32 << 10), Just(1 << 20), Just(6 << 20)];
    let start = (
        buffers,
        any::<bool>(),
        any::<[bool; 2]>(),
        any::<[bool; 2]>(),
    );
    let start = start.prop_map(|(buffer, charges, joined, proven)| Start {
        buffer,
        charges,
        joined,
        proven,
    });
    (vec(event(), 1..200), start)
}

fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    // The same cases in every run: what fails once fails again.
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn search(told: Told, cases: u32) -> Result<(), TestError<(Vec<Event>, Start)>> {
    runner(cases).run(&run(), |(events, start)| {
        let mut world = World::new(told, LIMIT, start);
        let done = events.into_iter().try_for_each(|event| world.apply(event));
        done.and_then(|()| world.finish())
            .map_err(TestCaseError::fail)
    })
}

/// How often to search: more where `SOCKWAY_LONG=1` asks for it.
fn cases() -> u32 {
    let long = std::env::var("SOCKWAY_LONG").as_deref() == Ok("1");
    if long { 200_000 } else { 1_500 }
}

#[test]
fn any_order_of_events_keeps_order_and_loses_nothing() {
    if let Err(failed) = search(Told::Truth, cases()) {
        panic!("{failed}");
    }
}

/// Searches with something withheld and asserts that what has to break does.
fn breaks(told: Told, how: &str) {
    match search(told, 20_000) {
        Err(TestError::Fail(why, (events, ..))) => {
            assert!(why.message().contains(how), "{told:?}: {why}");
            println!("{told:?}: {why} after {} events: {events:?}", events.len());
        }
        other => panic!("{told:?} broke nothing, so the test proves nothing: {other:?}"),
    }
}

#[test]
fn without_looking_whether_bytes_are_on_their_way_order_breaks() {
    breaks(Told::NothingInFlight, "read before");
}

#[test]
fn without_looking_whether_bytes_are_unread_order_breaks() {
    breaks(Told::NothingUnread, "read before");
}

#[test]
fn without_looking_whether_a_reader_is_inside_a_call_order_breaks() {
    breaks(Told::NobodyReads, "read before");
}

#[test]
fn without_looking_at_the_backlog_it_grows() {
    breaks(Told::NothingParked, "parked");
}

#[test]
fn opened_before_it_rests_an_end_loses_bytes_or_their_order() {
    breaks(Told::EverybodyRests, "");
}

#[test]
fn without_looking_whether_a_sender_is_in_flight_leaving_loses_bytes() {
    breaks(Told::NobodySends, "lost");
}

#[test]
fn without_looking_whether_bytes_wait_leaving_loses_them() {
    breaks(Told::NothingLeft, "lost");
}

#[test]
fn without_looking_whether_an_end_was_out_meanwhile_order_breaks() {
    breaks(Told::NobodyLeft, "");
}

#[test]
fn where_the_ends_cannot_be_seen_nothing_comes_back() {
    if let Err(failed) = search(Told::Nothing, cases() / 4) {
        panic!("{failed}");
    }
}

fn read() -> impl Strategy<Value = Read> {
    let call = prop_oneof![8 => Just(Some(true)), 1 => Just(Some(false)), 1 => Just(None)];
    let lowat = prop_oneof![12 => Just(1_u32), 1 => 2_u32..9];
    let rarely = || proptest::bool::weighted(0.04);
    (rarely(), call, lowat, rarely(), rarely()).prop_map(
        |(blocking, recv_like, rcvlowat, tcp_only, other_program)| Read {
            nonblocking: !blocking,
            recv_like,
            rcvlowat,
            tcp_only,
            zerocopy: false,
            other_program,
            edge: false,
            stopped_short: false,
        },
    )
}

/// As the programs do: signs of their own, and counters.
fn note(row: &mut ProgramRow, read: Read) {
    for sign in 0..sign::COUNT {
        if read.signs() >> sign & 1 != 0 {
            row.signs[sign] = 1;
        }
    }
    match read.recv_like {
        Some(true) => row.reads += 1,
        Some(false) => row.others += 1,
        None => {}
    }
}

#[test]
fn a_program_is_proven_only_by_enough_reads_that_all_were_fit() {
    let judged = runner(cases()).run(&vec(read(), 0..40), |reads| {
        let mut row = ProgramRow::default();
        let mut proofs = 0;
        let mut unfit = false;
        for read in reads {
            note(&mut row, read);
            unfit |= !read.nonblocking || read.rcvlowat > 1 || read.recv_like == Some(false);
            unfit |= read.tcp_only || read.other_program;
            proofs += u64::from(read.recv_like == Some(true));
            prop_assert_eq!(is_proven(&row), !unfit && proofs >= FIT_READS, "{:?}", read);
        }
        Ok(())
    });
    if let Err(failed) = judged {
        panic!("{failed}");
    }
}

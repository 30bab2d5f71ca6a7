use super::{End, be_redirected_to, come_in, fionread, leaves_out, settled, stays_out};
use crate::counters::Reason;
use crate::pair::hop;
use crate::program::{FIT_READS, ProgramRow, SHORTS, is_proven, is_unfit, sign};
use crate::scope;

const SCOPES: [u32; 4] = [scope::OFF, scope::PROXY, scope::AUTO, scope::ALL];
const ANSWERS: [u32; 3] = [fionread::RIGHT, fionread::WRONG, fionread::WRONG_UNSEEN];
const FREE: End = End {
    nonblocking: Some(true),
    ulp: false,
    tcp_only: false,
};

const NOTHING: ProgramRow = ProgramRow::NOTHING;

/// Every set of signs with few and with many reads of either kind.
fn rows() -> impl Iterator<Item = ProgramRow> {
    (0u32..1 << 12).flat_map(|bits| {
        [
            (0, 0),
            (FIT_READS, 0),
            (0, FIT_READS),
            (FIT_READS, FIT_READS),
        ]
        .map(|(reads, others)| {
            let mut row = ProgramRow {
                reads,
                others,
                ..ProgramRow::default()
            };
            for (sign, seen) in row.signs.iter_mut().enumerate() {
                *seen = u8::from(bits >> sign & 1 != 0);
            }
            row
        })
    })
}

fn ends() -> impl Iterator<Item = End> {
    [None, Some(false), Some(true)]
        .into_iter()
        .flat_map(|nonblocking| {
            (0..4).map(move |bits| End {
                nonblocking,
                ulp: bits & 1 != 0,
                tcp_only: bits & 2 != 0,
            })
        })
}

fn cases() -> impl Iterator<Item = (End, ProgramRow, u32)> {
    ends().flat_map(|end| rows().flat_map(move |row| ANSWERS.map(move |answer| (end, row, answer))))
}

#[test]
fn nobody_who_may_block_comes_in() {
    for (end, row, answer) in cases() {
        let verdict = come_in(scope::AUTO, hop::APP, end, &row, &NOTHING, answer);
        if verdict.is_ok() {
            assert_ne!(end.nonblocking, Some(false));
            assert_eq!(row.signs[sign::BLOCKING], 0);
            assert!(end.nonblocking.is_some() || row.signs[sign::NONBLOCKING] != 0);
            assert!(!end.ulp && !end.tcp_only);
        }
    }
}

#[test]
fn who_may_ask_for_the_length_stays_out_where_the_answer_is_wrong() {
    for (end, row, answer) in cases() {
        let verdict = come_in(scope::AUTO, hop::INBOUND, end, &row, &NOTHING, answer);
        if verdict.is_ok() && answer != fionread::RIGHT {
            assert_eq!(row.signs[sign::FIONREAD], 0);
            let stops_short = row.signs[sign::TO_END] == 0;
            assert!(
                !stops_short || (row.reads == 0 && answer == fionread::WRONG),
                "{row:?}"
            );
            assert!(row.reads + row.others >= FIT_READS, "unknown");
        }
    }
}

#[test]
fn a_free_end_comes_in_unknown_where_the_answer_is_right() {
    let nothing = ProgramRow::default();
    for hop in [hop::OUTBOUND, hop::INBOUND, hop::APP, hop::SELF_INBOUND] {
        assert_eq!(
            come_in(scope::AUTO, hop, FREE, &nothing, &NOTHING, fionread::RIGHT),
            Ok(())
        );
        assert_eq!(
            come_in(scope::AUTO, hop, FREE, &nothing, &NOTHING, fionread::WRONG),
            Err(Reason::Observed)
        );
    }
}

#[test]
fn a_worse_answer_lets_nobody_in() {
    for (end, row, _) in cases() {
        let [right, wrong, unseen] = ANSWERS
            .map(|answer| come_in(scope::AUTO, hop::APP, end, &row, &NOTHING, answer).is_ok());
        assert!(right || !wrong);
        assert!(wrong || !unseen);
    }
}

#[test]
fn only_the_proven_are_redirected_to() {
    for row in rows() {
        assert_eq!(be_redirected_to(scope::AUTO, &row).is_ok(), is_proven(&row));
        assert!(be_redirected_to(scope::ALL, &row).is_ok());
    }
}

#[test]
fn who_is_proven_may_come_in_wherever_it_does_not_block() {
    for row in rows().filter(is_proven) {
        for answer in ANSWERS {
            let reads = answer == fionread::RIGHT || row.signs[sign::TO_END] != 0;
            let may = reads && row.signs[sign::ZEROCOPY] == 0;
            assert_eq!(
                come_in(scope::AUTO, hop::APP, FREE, &row, &NOTHING, answer).is_ok(),
                may
            );
        }
    }
}

#[test]
fn scopes() {
    for scope in SCOPES {
        for hop in [hop::OUTBOUND, hop::INBOUND, hop::APP, hop::SELF_INBOUND] {
            let out = leaves_out(scope, hop);
            assert_eq!(
                out,
                scope == scope::OFF || (scope == scope::PROXY && hop != hop::INBOUND)
            );
            let row = ProgramRow::default();
            let verdict = come_in(scope, hop, FREE, &row, &NOTHING, fionread::RIGHT);
            assert_eq!(verdict == Err(Reason::Scope), out);
        }
    }
}

/// An end that was hardly seen to read comes in where its executable is known to read to the end on
/// every socket that was seen, and for no other reason.
#[test]
fn what_is_known_of_an_executable_counts_for_who_only_sends() {
    for whole in rows() {
        let is = |sign: usize| whole.signs[sign] != 0;
        let may = is_proven(&whole) && is(sign::TO_END) && !is(sign::SHORT);
        for answer in [fionread::WRONG, fionread::WRONG_UNSEEN] {
            let verdict = come_in(scope::AUTO, hop::INBOUND, FREE, &NOTHING, &whole, answer);
            assert_eq!(verdict.is_ok(), may, "{whole:?}");
        }
        let verdict = come_in(
            scope::AUTO,
            hop::INBOUND,
            FREE,
            &NOTHING,
            &whole,
            fionread::RIGHT,
        );
        assert_eq!(verdict, Ok(()));
    }
}

#[test]
fn what_is_known_of_a_program_goes_before_what_is_known_of_its_executable() {
    let whole = proven();
    let short = ProgramRow {
        shorts: 1,
        ..NOTHING
    };
    for row in rows().filter(is_unfit).chain([short]) {
        for end in ends() {
            for answer in ANSWERS {
                let by_itself = come_in(scope::AUTO, hop::APP, end, &row, &NOTHING, answer);
                let with_whole = come_in(scope::AUTO, hop::APP, end, &row, &whole, answer);
                assert_eq!(by_itself, with_whole, "{row:?}");
            }
        }
    }
}

/// Whoever may come in, or may turn out to, is waited for.
#[test]
fn who_may_come_in_yet_does_not_stay_out() {
    for (end, row, answer) in cases() {
        let verdict = come_in(scope::AUTO, hop::APP, end, &row, &NOTHING, answer);
        let free = come_in(scope::AUTO, hop::APP, FREE, &row, &NOTHING, answer);
        let out = verdict.is_err_and(|why| stays_out(why as u32, &row, free.is_ok()));
        if out {
            assert!(verdict != Err(Reason::Observed) || row.reads + row.others >= FIT_READS);
            assert!(verdict != Err(Reason::Observed) || free.is_err());
        } else {
            assert!(matches!(verdict, Ok(()) | Err(Reason::Observed)));
        }
    }
    for why in [
        Reason::NoPeer,
        Reason::NotInserted,
        Reason::Closed,
        Reason::Off,
    ] {
        assert!(!stays_out(why as u32, &NOTHING, false));
    }
}

#[test]
fn whose_program_is_settled_never_comes_in() {
    for mut row in rows() {
        if row.signs[sign::SHORT] != 0 {
            row.shorts = SHORTS;
        }
        for answer in ANSWERS {
            let reason = settled(scope::AUTO, hop::APP, &row, answer);
            if reason == u32::MAX {
                continue;
            }
            for sign in 0..=sign::SHORT {
                let mut more = row;
                more.reads += FIT_READS;
                // Who stopped short often is not watched for that any more.
                if sign != sign::TO_END || row.signs[sign::SHORT] == 0 {
                    more.signs[sign] = 1;
                }
                for whole in [NOTHING, proven()] {
                    let verdict = come_in(scope::AUTO, hop::APP, FREE, &more, &whole, answer);
                    assert!(verdict.is_err(), "{row:?}, then {more:?}");
                }
            }
        }
    }
}

/// An executable of which every socket reads to the end.
fn proven() -> ProgramRow {
    let mut whole = ProgramRow {
        reads: FIT_READS,
        ..NOTHING
    };
    whole.signs[sign::TO_END] = 1;
    whole
}

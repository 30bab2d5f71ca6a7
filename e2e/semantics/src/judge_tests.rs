use std::time::Duration;

use super::{Result, Verdict, rows};
use crate::case::Case;
use crate::child::Counted;
use crate::exceptions;
use crate::facts::{Fact, Seen};
use crate::runner::{Ending, Outcome, Task};
use crate::variant::{Family, Hop, Kind, Mode};

static CASE: Case = Case::new("a case", "a promise", |_| Ok(())).only(Kind::NONBLOCKING);

static LEFT: Case = Case::new("left", "a promise", |_| Ok(())).may_be_left();

const KIND: Kind = Kind::ALL[0];

fn task(case: &'static Case, mode: Mode) -> Task {
    Task {
        case,
        kind: KIND,
        hop: Hop::App,
        family: Family::V4,
        mode,
    }
}

fn saw(got: &str, redirected: u64) -> Outcome {
    let want = Some("as promised".to_owned());
    Outcome {
        facts: vec![Fact {
            what: "recv".into(),
            got: Seen::Text(got.into()),
            want,
        }],
        ending: Ending::Finished,
        counted: Counted {
            paired: 1,
            redirected,
            tcp: 0,
        },
        came_in: 0,
        took_ms: 1,
    }
}

fn judged(case: &'static Case, plain: Outcome, auto: Outcome) -> (Verdict, Result) {
    let tasks = [task(case, Mode::Plain), task(case, Mode::Auto)];
    let mut rows = rows(&tasks, &[plain, auto]);
    let mut row = rows.remove(0);
    (row.cells.remove(1).verdict, row.result)
}

#[test]
fn equal_and_accelerated_holds() {
    let (verdict, result) = judged(&CASE, saw("as promised", 0), saw("as promised", 5));
    assert_eq!((verdict, result), (Verdict::Accelerated, Result::Holds));
}

#[test]
fn equal_but_not_accelerated_shows_nothing() {
    let (verdict, result) = judged(&CASE, saw("as promised", 0), saw("as promised", 0));
    assert_eq!((verdict, result), (Verdict::NotAccelerated, Result::Fails));
    let (verdict, result) = judged(&LEFT, saw("as promised", 0), saw("as promised", 0));
    assert_eq!((verdict, result), (Verdict::Tcp, Result::Holds));
}

#[test]
fn unequal_fails() {
    let (verdict, result) = judged(&CASE, saw("as promised", 0), saw("otherwise", 5));
    assert!(matches!(verdict, Verdict::Differs(list) if list.len() == 1));
    assert_eq!(result, Result::Fails);
    let hung = Outcome {
        ending: Ending::Hung("after \"recv\"".into()),
        ..saw("as promised", 5)
    };
    let (verdict, result) = judged(&CASE, saw("as promised", 0), hung);
    assert_eq!(
        (verdict, result),
        (Verdict::Hangs("after \"recv\"".into()), Result::Fails)
    );
    let died = Outcome {
        ending: Ending::Died("signal 9".into()),
        ..saw("as promised", 5)
    };
    assert_eq!(judged(&CASE, saw("as promised", 0), died).1, Result::Fails);
}

#[test]
fn a_plain_run_that_breaks_the_promise_fails_whatever_the_other_saw() {
    let (verdict, result) = judged(&CASE, saw("otherwise", 0), saw("otherwise", 5));
    assert!(matches!(verdict, Verdict::PlainBroken(_)));
    assert_eq!(result, Result::Fails);
}

#[test]
fn what_the_kernel_lacks_neither_passes_nor_fails() {
    let lacks = Outcome {
        ending: Ending::Unavailable("no kTLS".into()),
        ..saw("as promised", 0)
    };
    assert_eq!(judged(&CASE, lacks.clone(), lacks).1, Result::Unavailable);
}

#[test]
fn a_known_exception_must_not_hold() {
    static KNOWN: Case = Case {
        name: exceptions::KNOWN[0].cases[0],
        limit: Duration::ZERO,
        ..Case::new("", "", |_| Ok(()))
    };
    assert_eq!(
        judged(&KNOWN, saw("as promised", 0), saw("otherwise", 5)).1,
        Result::Known
    );
    let holds = judged(&KNOWN, saw("as promised", 0), saw("as promised", 5));
    assert_eq!(holds.1, Result::KnownButHolds);
}

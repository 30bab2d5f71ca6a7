//! The cases, by topic.

/// A table of cases: `"name": "promise" => function;`, with what is special about one behind its function.
macro_rules! cases {
    ($($name:literal: $promise:literal => $run:expr $(, $special:ident($($value:expr),*))*;)+) => {
        &[$(Case::new($name, $promise, $run)$(.$special($($value),*))*),+]
    };
}

mod basics;
mod buffers;
mod changing;
mod closing;
mod errors;
mod events;
mod handover;
mod late;
mod modes;
mod openings;
mod options;
mod queues;
mod readiness;
mod reading;
mod resets;
mod rings;
mod sending;
mod setup;
mod signals;
mod splicing;
mod timers;
mod urgent;
mod vectors;

use crate::case::Case;
pub(crate) use late::serve;

/// Every case.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [
        basics::CASES,
        reading::CASES,
        vectors::CASES,
        queues::CASES,
        readiness::CASES,
        events::CASES,
        closing::CASES,
        resets::CASES,
        errors::CASES,
        sending::CASES,
        urgent::CASES,
        buffers::CASES,
        splicing::CASES,
        signals::CASES,
        handover::CASES,
        modes::CASES,
        changing::CASES,
        late::CASES,
        options::CASES,
        timers::CASES,
        setup::CASES,
        openings::CASES,
        rings::CASES,
    ]
    .into_iter()
    .flatten()
}

/// The case of that name.
pub(crate) fn find(name: &str) -> Option<&'static Case> {
    all().find(|case| case.name == name)
}

#[cfg(test)]
mod tests {
    use super::{all, find};
    use crate::exceptions;

    #[test]
    fn names_are_unique_and_exceptions_name_cases() {
        for case in all() {
            assert_eq!(
                all().filter(|other| other.name == case.name).count(),
                1,
                "{}",
                case.name
            );
        }
        for exception in exceptions::KNOWN {
            for name in exception.cases {
                let case = find(name).expect("a case of that name");
                assert_ne!(exception.kinds & case.kinds, 0, "{name}");
            }
        }
    }
}

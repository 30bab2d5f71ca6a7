use super::{
    FIT_READS, ProgramRow, Read, SHORTS, UNFIT, asks_no_length, is_proven, sign, to_end, wants_ends,
};

const FINE: Read = Read {
    nonblocking: true,
    recv_like: Some(true),
    rcvlowat: 1,
    tcp_only: false,
    edge: false,
    stopped_short: false,
    zerocopy: false,
    other_program: false,
};
const EDGE: Read = Read { edge: true, ..FINE };

/// What the programs do with a read.
fn after(mut row: ProgramRow, read: Read) -> ProgramRow {
    for (sign, seen) in row.signs.iter_mut().enumerate() {
        *seen |= u8::from(read.signs() >> sign & 1 != 0);
    }
    match read.recv_like {
        Some(true) => row.reads += 1,
        Some(false) => row.others += 1,
        None => {}
    }
    row.shorts += u64::from(read.stopped_short);
    row
}

/// What they do where a read finds nothing.
fn after_end(mut row: ProgramRow) -> ProgramRow {
    row.ends += 1;
    row.signs[sign::TO_END] |= u8::from(to_end(&row));
    row
}

#[test]
fn edge_triggered_readers_have_to_read_to_the_end() {
    let short = Read {
        stopped_short: true,
        ..EDGE
    };
    let mut row = ProgramRow::default();
    for round in 0..100 {
        // One speculative read now and then is no proof.
        if round % 4 == 3 {
            row = after_end(row);
        }
        row = after(row, short);
        assert!(!is_proven(&row), "round {round}");
    }
    let mut whole = ProgramRow::default();
    for _ in 0..FIT_READS {
        assert!(!is_proven(&whole));
        whole = after_end(after(whole, EDGE));
    }
    assert!(is_proven(&whole));
    assert!(is_proven(&after(whole, short)), "proven for good");
    assert!(!wants_ends(&whole, true), "nothing more to see");
}

#[test]
fn who_never_reads_to_the_end_is_not_asked_for_ever() {
    let mut row = ProgramRow::default();
    for round in 0..SHORTS {
        row = after(
            row,
            Read {
                stopped_short: true,
                ..EDGE
            },
        );
        assert_eq!(wants_ends(&row, false), round + 1 < SHORTS, "round {round}");
    }
    assert!(!is_proven(&row) && !asks_no_length(&row));
    let level = after(ProgramRow::default(), FINE);
    assert!(!wants_ends(&level, false) && wants_ends(&level, true));
}

#[test]
fn one_bad_sign_is_enough_for_ever_and_no_order_of_signs_heals_it() {
    let mut proven = ProgramRow::default();
    for _ in 0..FIT_READS {
        proven = after(proven, FINE);
    }
    assert!(is_proven(&proven) && !asks_no_length(&proven), "it may ask");
    for _ in 0..FIT_READS {
        proven = after_end(proven);
    }
    assert!(asks_no_length(&proven));
    for bad in UNFIT {
        let mut row = proven;
        row.signs[bad] = 1;
        for _ in 0..100 {
            assert!(!is_proven(&row), "sign {bad}");
            row = after_end(after(row, FINE));
        }
    }
}

#[test]
fn who_splices_only_asks_no_length() {
    let splice = Read {
        recv_like: Some(false),
        ..EDGE
    };
    let mut row = ProgramRow::default();
    for _ in 0..FIT_READS {
        assert!(!asks_no_length(&row));
        row = after(row, splice);
    }
    assert!(asks_no_length(&row) && !is_proven(&row));
    assert!(!asks_no_length(&after(row, EDGE)), "reads short too");
}

#[test]
fn a_call_that_cannot_be_told_says_nothing() {
    let mut row = ProgramRow::default();
    for _ in 0..100 {
        row = after(
            row,
            Read {
                recv_like: None,
                ..FINE
            },
        );
    }
    assert!(!is_proven(&row));
}

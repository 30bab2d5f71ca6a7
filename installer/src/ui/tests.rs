use super::{Align, Paint, Table, age, bytes, count, facts, share};
use std::time::{Duration, UNIX_EPOCH};

#[test]
fn columns_are_aligned() {
    let mut table = Table::new(&[("NAME", Align::Left), ("N", Align::Right)]);
    table.row(["a".to_owned(), "1".to_owned()]);
    table.row(["longer".to_owned(), "1,000".to_owned()]);
    let text = table.render(Paint::plain(), 1);
    assert_eq!(text, " NAME        N\n a           1\n longer  1,000\n");
    assert_eq!(
        facts(&[("a", "x".to_owned()), ("bcd", "y".to_owned())]),
        "a    x\nbcd  y\n"
    );
}

#[test]
fn numbers_are_readable() {
    assert_eq!(
        [count(0), count(999), count(1_000), count(1_234_567)],
        ["0", "999", "1,000", "1,234,567"]
    );
    assert_eq!(bytes(1023), "1023 B");
    assert_eq!(bytes(1536), "1.5 KiB");
    assert_eq!(bytes(5 << 30), "5.0 GiB");
    assert_eq!(bytes(u64::MAX), "15.9 EiB");
    assert_eq!(share(1, 3), "33.3 %");
    assert_eq!(share(0, 0), "-");
}

#[test]
fn ages_have_two_units() {
    let ago = |s| age(UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(s));
    assert_eq!(
        [ago(5), ago(65), ago(3_700), ago(90_000)],
        ["5s", "1m5s", "1h1m", "1d1h"]
    );
    assert_eq!(age(UNIX_EPOCH + Duration::from_secs(9), UNIX_EPOCH), "0s");
}

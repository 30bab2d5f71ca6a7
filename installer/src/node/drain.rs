//! Waiting for accelerated connections to end.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

const PAUSE: Duration = Duration::from_millis(200);

/// Waits until no socket is in the sockhash any more, at most `limit`; hands
/// back how many are left.
///
/// A socket that leaves the sockhash loses the bytes that wait in its redirected queue, so it leaves
/// once its program has read them, or has closed it.
/// `sockets` counts them, `progress` hears of each change.
///
/// # Errors
///
/// Those of `sockets`.
pub fn wait(
    limit: Duration,
    sockets: impl Fn() -> Result<usize>,
    mut progress: impl FnMut(usize, Duration),
) -> Result<usize> {
    let start = Instant::now();
    let mut last = None;
    loop {
        let left = sockets()?;
        if last != Some(left) {
            progress(left, start.elapsed());
            last = Some(left);
        }
        if left == 0 || start.elapsed() >= limit {
            return Ok(left);
        }
        sleep(PAUSE.min(limit.saturating_sub(start.elapsed())));
    }
}

/// Reads `30`, `30s`, `5m` or `2h`.
///
/// # Errors
///
/// What is allowed, for any other word.
pub fn duration(word: &str) -> Result<Duration, String> {
    let (number, factor) = match word.as_bytes().last() {
        Some(b's') => (&word[..word.len() - 1], 1),
        Some(b'm') => (&word[..word.len() - 1], 60),
        Some(b'h') => (&word[..word.len() - 1], 3600),
        _ => (word, 1),
    };
    let seconds = number
        .parse::<u32>()
        .map_err(|_| "a number of seconds, or like 30s, 5m, 2h")?;
    Ok(Duration::from_secs(u64::from(seconds) * factor))
}

#[cfg(test)]
mod tests {
    use super::{duration, wait};
    use std::cell::Cell;
    use std::time::Duration;

    #[test]
    fn ends_with_the_last_socket() {
        let left = Cell::new(3);
        let mut heard = Vec::new();
        let count = || {
            left.set(left.get() - 1);
            Ok(left.get())
        };
        assert_eq!(
            wait(Duration::from_mins(1), count, |n, _| heard.push(n)).unwrap(),
            0
        );
        assert_eq!(heard, [2, 1, 0]);
    }

    #[test]
    fn ends_with_the_limit() {
        assert_eq!(
            wait(Duration::from_millis(1), || Ok(4), |_, _| {}).unwrap(),
            4
        );
        assert_eq!(wait(Duration::ZERO, || Ok(4), |_, _| {}).unwrap(), 4);
    }

    #[test]
    fn durations() {
        let seconds = |word| duration(word).map(|d| d.as_secs());
        assert_eq!(
            [seconds("0"), seconds("30s"), seconds("5m"), seconds("2h")],
            [Ok(0), Ok(30), Ok(300), Ok(7200)]
        );
        for bad in ["", "s", "-1", "1d", "1.5", "é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}

//! Figures and rows as text.

use crate::mode::Mode;
use crate::results::Spread;
use crate::summary::Summary;
use crate::wire::HOPS;

/// One row, as text.
pub(super) fn cells(summary: &Summary) -> [String; 10] {
    let Summary {
        case,
        mode,
        rate,
        mean_us,
        p50_us,
        p99_us,
        cpu_us,
        rate_ratio,
        mean_ratio,
        ..
    } = summary;
    let plain = *mode == Mode::Plain;
    let faults = match summary.faults {
        0 => String::new(),
        faults => format!(" ({faults} faults)"),
    };
    [
        case.name(),
        mode.name().to_owned(),
        format!("{} {}{faults}", number(rate.median), case.tool.unit()),
        ratio(rate_ratio.as_ref(), plain),
        time(mean_us.median),
        ratio(mean_ratio.as_ref().filter(|_| mean_us.median > 0.0), plain),
        time(p50_us.median),
        time(p99_us.median),
        time(cpu_us.median),
        shares(summary),
    ]
}

/// Shares of plain TCP's bytes on each hop that are not there; from the third second on too,
/// where that was watched.
pub(super) fn shares(summary: &Summary) -> String {
    if summary.mode == Mode::Plain {
        return String::new();
    }
    if let Some([sent, received]) = summary.carried {
        let [sent, received] = [sent, received].map(|share| 100.0 * share);
        return format!("to the reader {sent:.0} %, back {received:.0} %");
    }
    let words = |shares: [f64; HOPS.len()]| {
        shares
            .map(|share| format!("{:.0}", 100.0 * share.max(0.0)))
            .join(" / ")
    };
    match (summary.share, summary.late_share) {
        (None, _) => String::new(),
        (Some(all), None) => format!("{} %", words(all)),
        (Some(all), Some(late)) => format!("{} %; from 3 s {} %", words(all), words(late)),
    }
}

/// A ratio with its spread over the rounds.
pub(super) fn ratio(spread: Option<&Spread>, plain: bool) -> String {
    match spread {
        Some(Spread {
            median,
            least,
            most,
        }) if !plain => format!("**{median:.2}x** ({least:.2} to {most:.2})"),
        _ => String::new(),
    }
}

pub(super) fn time(us: f64) -> String {
    if us == 0.0 {
        String::new()
    } else if us < 100.0 {
        format!("{us:.1} us")
    } else {
        format!("{} us", number(us))
    }
}

/// With a space before each three digits.
pub(super) fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn thousands_are_apart() {
        assert_eq!(number(7.4), "7");
        assert_eq!(number(1234.0), "1 234");
        assert_eq!(number(1_234_567.0), "1 234 567");
    }
}

//! Tables in Markdown, for README.md and docs/benchmarks.md.

use std::fmt::Write as _;

use super::{Topics, bars};
use crate::mode::Mode;
use crate::results::{Spread, Summary};

const HEAD: [&str; 9] = [
    "what",
    "mode",
    "rate",
    "rate by plain",
    "average",
    "average by plain",
    "median",
    "p99",
    "CPU for each",
];

/// Every topic: its table and how it was measured.
pub(super) fn markdown(topics: &[Topics]) -> String {
    let mut text = table(&bars::HEAD, bars::rows(topics)) + "\n";
    for Topics {
        facts, summaries, ..
    } in topics
    {
        text += &table(&HEAD, summaries.iter().map(cells));
        let _infallible = writeln!(text, "\n{}\n", facts.sentence());
    }
    text
}

fn table<const N: usize>(head: &[&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: [&str; N]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(*head) + &line([const { "---" }; N]);
    for row in rows {
        text += &line(row.each_ref().map(String::as_str));
    }
    text
}

/// One row, as text.
pub(super) fn cells(summary: &Summary) -> [String; 9] {
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
    ]
}

/// A ratio with its spread over the rounds.
fn ratio(spread: Option<&Spread>, plain: bool) -> String {
    match spread {
        Some(Spread {
            median,
            least,
            most,
        }) if !plain => format!("**{median:.2}x** ({least:.2} to {most:.2})"),
        _ => String::new(),
    }
}

fn time(us: f64) -> String {
    if us == 0.0 {
        String::new()
    } else if us < 100.0 {
        format!("{us:.1} us")
    } else {
        format!("{} us", number(us))
    }
}

/// With a space before each three digits.
fn number(value: f64) -> String {
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

//! Tables in Markdown, for README.md and docs/benchmarks.md.

use std::fmt::Write as _;

use super::Topics;
use crate::mode::Mode;
use crate::results::{Spread, Summary};

const HEAD: [&str; 8] = [
    "what",
    "mode",
    "rate",
    "rate by plain",
    "average",
    "average by plain",
    "p99",
    "CPU for each",
];

/// Every topic: its table and how it was measured.
pub(super) fn markdown(topics: &[Topics]) -> String {
    let mut text = String::new();
    for Topics { facts, summaries } in topics {
        let rows: Vec<_> = summaries.iter().map(cells).collect();
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        text += &line(&HEAD.map(str::to_owned));
        text += &line(&HEAD.map(|_| "---".to_owned()));
        for row in &rows {
            text += &line(row);
        }
        let _infallible = writeln!(text, "\n{}\n", facts.sentence());
    }
    text
}

/// One row, as text.
pub(super) fn cells(summary: &Summary) -> [String; 8] {
    let Summary {
        case,
        mode,
        rate,
        mean_us,
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

//! What was found on each kernel, as one table.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::CHECKS;
use super::console::Console;

/// A kernel's name and what its guest said.
pub type Found = (String, Console);

/// For a person, and for docs/kernels.md.
pub fn human(found: &[Found]) -> String {
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    let mut row = |name: &str, cell: &dyn Fn(&Console) -> String| {
        let cells = found.iter().map(|(_, console)| cell(console)).collect();
        rows.push((name.to_owned(), cells));
    };
    row("release", &|console| {
        console.release.clone().unwrap_or_else(|| "-".into())
    });
    for check in CHECKS {
        row(check, &|console| result(console, check));
    }
    row("backlog seen by", &|console| {
        let sum = match fact(console, "msg_tot_len") {
            "yes" => "msg_tot_len",
            "no" => "walking the queue",
            _ => "-",
        };
        sum.into()
    });
    row("kTLS", &|console| match fact(console, "tls") {
        "yes" => "module".into(),
        "no" => "none".into(),
        _ => "-".into(),
    });
    row("rules with less", &|console| {
        limits(console, "load").map_or("-".into(), |limits| limits.len().to_string())
    });
    row("without BTF", &|console| {
        limits(console, "no-btf").map_or("-".into(), |limits| limits.len().to_string())
    });
    let mut text = lay_out(found, &rows);
    for (name, console) in found {
        for limit in limits(console, "load").unwrap_or_default() {
            let _infallible = writeln!(text, "{name}: {limit}");
        }
        for check in &console.checks {
            for failure in &check.failures {
                let _infallible = writeln!(text, "{name}: {} FAILED: {failure}", check.name);
            }
        }
    }
    text
}

fn lay_out(found: &[Found], rows: &[(String, Vec<String>)]) -> String {
    let first = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let widths: Vec<usize> = found
        .iter()
        .enumerate()
        .map(|(column, (name, _))| {
            let cells = rows.iter().map(|(_, cells)| cells[column].len());
            cells.max().unwrap_or(0).max(name.len())
        })
        .collect();
    let mut text = format!("| {:first$} |", "");
    for ((name, _), width) in found.iter().zip(&widths) {
        let _infallible = write!(text, " {name:width$} |");
    }
    text.push_str("\n|");
    for width in std::iter::once(&first).chain(&widths) {
        text.push_str(&"-".repeat(width + 2));
        text.push('|');
    }
    text.push('\n');
    for (name, cells) in rows {
        let _infallible = write!(text, "| {name:first$} |");
        for (cell, width) in cells.iter().zip(&widths) {
            let _infallible = write!(text, " {cell:width$} |");
        }
        text.push('\n');
    }
    text
}

/// For a program.
pub fn json(found: &[Found]) -> Value {
    let kernels = found.iter().map(|(name, console)| {
        let checks = console.checks.iter().map(|check| {
            json!({
                "name": check.name,
                "passed": check.count.passed,
                "failed": check.count.failed,
                "failures": check.failures,
                "seconds": check.seconds,
            })
        });
        json!({
            "kernel": name,
            "release": console.release,
            "checks": checks.collect::<Vec<_>>(),
            "msg_tot_len": fact(console, "msg_tot_len") == "yes",
            "tls": fact(console, "tls") == "yes",
            "limits": limits(console, "load"),
            "limits_without_btf": limits(console, "no-btf"),
        })
    });
    json!({ "kernels": kernels.collect::<Vec<_>>() })
}

fn result(console: &Console, check: &str) -> String {
    let Some(check) = console.check(check) else {
        return "-".into();
    };
    if check.count.failed == 0 {
        format!("{} passed", check.count.passed)
    } else {
        check.count.to_string()
    }
}

fn fact<'a>(console: &'a Console, name: &str) -> &'a str {
    console.facts.get(name).map_or("", String::as_str)
}

/// Rules that work with less, from `sockway status -o json` of a check.
fn limits(console: &Console, check: &str) -> Option<Vec<String>> {
    let status: Value = serde_json::from_str(fact(console, &format!("{check}.status"))).ok()?;
    let limits = status["datapath"]["limits"].as_array()?;
    let texts = limits.iter().filter_map(Value::as_str);
    Some(texts.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Vec<Found> {
        let mut console = Console::default();
        for line in [
            "@@ kernel 5.10.0",
            "@@ fact msg_tot_len no",
            "@@ fact load.status {\"datapath\":{\"limits\":[\"less of it\"]}}",
            "@@ begin load",
            "@@ end load 0 2",
            "@@ begin semantics",
            "FIONREAD  ok  DIFFERS  NO",
            "3 passed, 1 failed",
            "@@ end semantics 1 9",
            "@@ done",
        ] {
            console.line(line);
        }
        vec![("5.10".into(), console)]
    }

    #[test]
    fn a_table_says_what_each_kernel_does() {
        let text = human(&found());
        for words in [
            "|                 | 5.10               |",
            "| load            | 1 passed           |",
            "| semantics       | 3 passed, 1 failed |",
            "| integrity       | -                  |",
            "| backlog seen by | walking the queue  |",
            "| rules with less | 1                  |",
            "| without BTF     | -                  |",
            "5.10: less of it\n",
            "5.10: semantics FAILED: FIONREAD\n",
        ] {
            assert!(text.contains(words), "{words:?} is not in:\n{text}");
        }
    }

    #[test]
    fn programs_get_the_same() {
        let value = json(&found());
        let kernel = &value["kernels"][0];
        assert_eq!(kernel["release"], "5.10.0");
        assert_eq!(kernel["checks"][1]["failures"][0], "FIONREAD");
        assert_eq!(kernel["limits"][0], "less of it");
        assert_eq!(kernel["limits_without_btf"], Value::Null);
    }
}

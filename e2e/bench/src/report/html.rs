//! One page that needs nothing beside itself.

use std::fmt::Write as _;

use super::{Topics, bars, cells, first, headline, losses};
use crate::results::Sample;
use crate::summary::Summary;

const HEAD: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sockway: how fast it is</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(500px, 1fr)); gap: 1em; }
.charts svg { width: 100%; height: auto; border: 1px solid #ddd; }
table { border-collapse: collapse; width: 100%; font-size: 13px; margin: 1em 0 .4em; }
th, td { padding: .3em .6em; border-bottom: 1px solid #ddd; text-align: left; }
td:nth-child(n+3) { font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.first td { border-top: 2px solid #999; }
p.facts { color: #555; font-size: 13px; } code { background: #f3f3f3; }
</style></head><body>
<h1>Sockway: how fast it is</h1>
<p>plain: TCP, nothing attached. auto: Sockway as it is installed. all, proxy: its other scopes.
4-tuple: the usual accelerator, by addresses and ports, without any rule. blind: Sockway's pairing without any check at a send.
AF_UNIX: a socket pair in place of TCP. all, Envoys over AF_UNIX: the hop between the Envoys is an AF_UNIX socket, the others as in all: what is to be had. full maps: Sockway where no further connection has room. Figures are medians of rounds; a ratio is the median of the rounds' own ratios,
with the least and the most of them. Bytes that no interface saw: what plain TCP puts on lo and eth0 of the two pods for
a request, by their rx_bytes, less what was there in this mode, as a share. Cold: all connections opened at once
between pods, at addresses and listeners that were never seen before, with sockway run as in production.</p>
"#;

/// The page.
pub(super) fn page(
    topics: &[Topics],
    summaries: &[&Summary],
    samples: &[&Sample],
    charts: &[(String, String)],
) -> String {
    let mut page = HEAD.to_owned();
    page += "<h2>Both protocols, warm and cold, without and with mutual TLS</h2>";
    page += &table(&headline::HEAD, headline::table(summaries));
    let mut losses = losses::table(summaries);
    losses.extend(losses::NEVER.map(|(what, why)| {
        let cells = [what, "", "", why];
        cells.map(str::to_owned)
    }));
    page += "<h2>What does not gain</h2>";
    page += &table(&losses::HEAD, losses);
    page += "<h2>From connect to the first redirected byte</h2>";
    page += &table(&first::HEAD, first::table(samples));
    page += "<h2>Pictures</h2><div class=\"charts\">\n";
    for (_, svg) in charts {
        page += svg;
    }
    page += "</div>\n<h2>Bars</h2>";
    page += &table(&bars::HEAD, bars::rows(topics));
    for Topics {
        facts, summaries, ..
    } in topics
    {
        let Some(first) = summaries.first() else {
            continue;
        };
        let _infallible = writeln!(
            page,
            "<h2>{}</h2>",
            escape(&format!("{:?}", first.case.topic))
        );
        page += "<table><tr><th>what<th>mode<th>rate<th>by plain<th>average<th>by plain<th>median<th>p99<th>CPU for each<th>bytes that no interface saw: outbound / inbound / app</tr>\n";
        let mut last = String::new();
        for summary in summaries {
            let cells = cells::cells(summary);
            let class = if cells[0] == last {
                ""
            } else {
                " class=\"first\""
            };
            last.clone_from(&cells[0]);
            let cells = cells.map(|cell| format!("<td>{}", bold(&escape(&cell))));
            let _infallible = writeln!(page, "<tr{class}>{}</tr>", cells.concat());
        }
        let facts = escape(&facts.sentence());
        let _infallible = writeln!(page, "</table><p class=\"facts\">{}</p>", code(&facts));
    }
    page + "</body></html>\n"
}

fn table<const N: usize>(head: &[&str; N], rows: Vec<[String; N]>) -> String {
    let mut text = "<table><tr>".to_owned();
    for head in head {
        let _infallible = write!(text, "<th>{head}");
    }
    text += "</tr>\n";
    for row in rows {
        let cells = row.map(|cell| format!("<td>{}", bold(&escape(&cell))));
        let _infallible = writeln!(text, "<tr>{}</tr>", cells.concat());
    }
    text + "</table>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// `**x**` of the Markdown tables.
fn bold(text: &str) -> String {
    pairs(text, "**", "b")
}

/// `` `x` `` of the sentences.
fn code(text: &str) -> String {
    pairs(text, "`", "code")
}

fn pairs(text: &str, mark: &str, tag: &str) -> String {
    let mut parts = text.split(mark);
    let mut out = parts.next().unwrap_or_default().to_owned();
    let mut open = false;
    for part in parts {
        open = !open;
        let _infallible = write!(out, "<{}{tag}>{part}", if open { "" } else { "/" });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{bold, code, escape};

    #[test]
    fn marks_become_tags() {
        assert_eq!(bold("**1.7x** (1 to 2)"), "<b>1.7x</b> (1 to 2)");
        assert_eq!(code("`a` b"), "<code>a</code> b");
        assert_eq!(escape("a<b"), "a&lt;b");
    }
}

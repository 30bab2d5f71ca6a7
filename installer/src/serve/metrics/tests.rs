use super::{datapath, keeper, page};
use crate::keep::shared::{Known, Shared};
use crate::serve::exposition::Page;
use crate::serve::sums::{Fill, Sums};
use crate::view::figures::Figures;
use crate::view::pods::PodState;
use sockway_common::calls::{DONE, SLOTS, bucket_slot, outcome_slot, sum_slot};
use sockway_common::counters::Stats;
use sockway_datapath::Pins;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

fn known() -> Known {
    let shared = Shared::new(Instant::now());
    let mut known = shared.lock().clone();
    known.as_wanted.insert("conflist", false);
    known.drift.insert("conflist", 3);
    known.repairs.insert("conflist", 2);
    known
}

fn pod(name: &str, redirected_bytes: u64) -> PodState {
    PodState {
        name: name.to_owned(),
        connections: 1,
        redirected_messages: 1,
        redirected_bytes,
        ..PodState::sample()
    }
}

/// A page with every family that there is.
fn whole(per_pod: usize) -> String {
    let mut calls = [0; SLOTS];
    calls[outcome_slot(0, DONE)] = 4;
    calls[bucket_slot(0, 1_400)] = 4;
    calls[sum_slot(0)] = 5_600;
    let fill = Fill {
        map: "sockets",
        rows: 20,
        capacity: 100,
    };
    let sums = Sums {
        figures: Figures::from(&Stats::default()),
        pods: vec![pod("quiet", 1), pod("busy", 9), pod("", 99)],
        sockets: 20,
        fill: vec![fill],
        map_bytes: vec![("sockets", 8192)],
        calls,
        tcp_bytes: Some(4096),
        off: false,
    };
    let mut page = Page::default();
    keeper(&mut page, &known());
    page.one("sockway_datapath_readable", "gauge", super::READABLE, 1);
    page.one("sockway_off", "gauge", super::OFF, 0);
    datapath(&mut page, sums, per_pod);
    page.into_text()
}

/// Sample names, each with the labels that it has.
fn samples(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines().filter(|l| !l.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let labels = all.entry(name.to_owned()).or_default();
        labels.extend(labels_of(line.split_once('{').map_or("", |(_, rest)| rest)));
    }
    all
}

/// Names before `=`, `!=`, `=~` and `!~` up to the closing brace.
fn labels_of(selector: &str) -> impl Iterator<Item = String> {
    let inside = selector.split('}').next().unwrap_or_default();
    let parts = inside.split(',').filter(|part| part.contains('='));
    parts.map(|part| part.split(['=', '!']).next().unwrap().trim().to_owned())
}

fn assert_sound(page: &str) {
    // Each family once, with help and type before its samples.
    let types: Vec<(&str, &str)> = page
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let names: HashSet<&str> = types.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), types.len());
    for sample in samples(page).keys() {
        let is_of = |(name, kind): &&(&str, &str)| {
            let suffix = sample.strip_prefix(name);
            match *kind {
                "histogram" => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
                "counter" => suffix == Some("_total"),
                _ => suffix == Some(""),
            }
        };
        assert!(types.iter().any(|family| is_of(&family)), "{sample}");
    }
}

#[test]
fn a_node_without_maps_still_has_a_page() {
    let text = page(&Pins::new("/proc/none"), &known(), 10, &Mutex::default());
    assert!(
        text.contains("sockway_drift_total{what=\"conflist\"} 3\n"),
        "{text}"
    );
    assert!(text.contains("sockway_ready 0\n") && text.contains("sockway_datapath_readable 0\n"));
    assert_sound(&text);
}

#[test]
fn the_whole_page() {
    let text = whole(1);
    assert_sound(&text);
    for line in [
        "sockway_connections 10\n",
        "sockway_plugin_calls_total{verb=\"ADD\",outcome=\"done\"} 4\n",
        "sockway_plugin_call_duration_seconds_bucket{le=\"0.001\",verb=\"ADD\"} 0\n",
        "sockway_plugin_call_duration_seconds_bucket{le=\"0.0015\",verb=\"ADD\"} 4\n",
        "sockway_plugin_call_duration_seconds_sum{verb=\"ADD\"} 0.0056\n",
        "sockway_map_rows{map=\"sockets\"} 20\n",
        "sockway_pod_redirected_bytes_total{namespace=\"shop\",pod=\"busy\"} 9\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert!(
        !text.contains("quiet"),
        "only so many pods as were asked for"
    );
    assert!(!whole(0).contains("sockway_pod_"));
}

/// A dashboard, a rule or a document that names a metric or a label that is not there shows nothing, and
/// nobody notices.
#[test]
fn what_is_named_elsewhere_exists() {
    let there = samples(&whole(1));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for file in [
        "conf/grafana/sockway.json",
        "conf/prometheus/sockway-rules.yaml",
        "docs/operations.md",
    ] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let mut found = 0;
        for (at, _) in text.match_indices("sockway_") {
            let rest = &text[at..];
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            let name = &rest[..end];
            found += 1;
            let labels = there
                .get(name)
                .unwrap_or_else(|| panic!("{file} names {name}, which no page has"));
            if let Some(selector) = rest[end..].strip_prefix('{') {
                for label in labels_of(&selector.replace('\\', "")) {
                    assert!(
                        label == "instance" || labels.contains(&label),
                        "{file}: {name} has no label {label}"
                    );
                }
            }
        }
        assert!(found > 3, "{file} names {found} metrics");
    }
}

/// Every family as a row: name, type, labels, meaning.
fn table(page: &str) -> String {
    let all = samples(page);
    let mut rows = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    let mut help = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, text)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            help.insert(name, text);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            let sample = match kind {
                "counter" => format!("{name}_total"),
                "histogram" => format!("{name}_count"),
                _ => name.to_owned(),
            };
            let labels: Vec<&str> = all[&sample].iter().map(String::as_str).collect();
            let shown = if kind == "histogram" { name } else { &sample };
            let meaning = help.get(name).copied().unwrap_or_default();
            let labels = labels.join(", ");
            writeln!(rows, "| `{shown}` | {kind} | {labels} | {meaning} |").unwrap();
        }
    }
    rows
}

/// docs/metrics.md has the table of this very code; `SOCKWAY_WRITE=1` writes it there.
#[test]
fn the_document_has_every_family() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join("docs/metrics.md");
    let text = fs::read_to_string(&path).unwrap();
    let start = text.find("| metric |").expect("a table");
    let end = start + text[start..].find("\n\n").expect("its end") + 1;
    let made = table(&whole(1));
    if std::env::var("SOCKWAY_WRITE").as_deref() == Ok("1") {
        fs::write(&path, format!("{}{made}{}", &text[..start], &text[end..])).unwrap();
        return;
    }
    assert_eq!(&text[start..end], made, "SOCKWAY_WRITE=1 writes it anew");
}

use super::page;
use crate::keep::shared::Shared;
use sockway_datapath::Pins;
use std::collections::HashSet;
use std::time::Instant;

#[test]
fn a_node_without_maps_still_has_a_page() {
    let shared = Shared::new(Instant::now());
    shared.lock().drift.insert("conflist", 3);
    let text = page(&Pins::new("/proc/none"), &shared.lock().clone(), 10);
    assert!(
        text.contains("sockway_drift_total{what=\"conflist\"} 3\n"),
        "{text}"
    );
    assert!(text.contains("sockway_ready 0\n") && text.contains("sockway_datapath_readable 0\n"));
    // Each family once, with help and type before its samples.
    let types: Vec<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    assert_eq!(types.iter().collect::<HashSet<_>>().len(), types.len());
    for sample in text.lines().filter(|l| !l.starts_with('#')) {
        let name = sample.split(['{', ' ']).next().unwrap();
        assert!(types.contains(&name), "{sample}");
    }
}

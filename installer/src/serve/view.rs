//! The page for people who would rather look than read: one file that asks for [`state`] by itself.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use sockway_datapath::Pins;

use super::sums::Sums;
use crate::build::{COMMIT, VERSION};
use crate::keep::shared::Known;
use crate::view::figures::Figures;
use crate::view::pods::PodState;

/// The page itself: nothing in it comes from elsewhere.
pub const PAGE: &str = include_str!("page.html");

/// What it shows.
#[derive(Debug, Serialize)]
struct State {
    version: &'static str,
    commit: &'static str,
    ready: bool,
    /// Why it is not ready, and what is not as wanted, a line each.
    troubles: Vec<String>,
    off: bool,
    /// The sentence that `status` leads with.
    sentence: String,
    /// `None` where the maps cannot be read.
    figures: Option<Figures>,
    pods: Vec<PodState>,
}

/// What the page shows now, as JSON. `before`: what was shown last, as for the metrics.
pub fn state(pins: &Pins, known: &Known, before: &Mutex<Option<Figures>>) -> String {
    let mut troubles = known.not_ready.clone();
    let others = known.as_wanted.iter().filter(|(_, is)| !**is);
    if troubles.is_empty() {
        troubles.extend(others.map(|(what, _)| format!("not as wanted: {what}")));
    }
    let sums = Sums::read(pins).inspect_err(|e| log::debug!("the page: {e:#}"));
    let mut state = State {
        version: VERSION,
        commit: COMMIT,
        ready: known.not_ready.is_empty(),
        troubles,
        off: false,
        sentence: String::new(),
        figures: None,
        pods: Vec::new(),
    };
    if let Ok(mut sums) = sums {
        let before = before.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = &*before {
            sums.figures.not_below(before);
        }
        state.off = sums.off;
        state.sentence = sums.figures.sentence();
        state.pods = sums.pods;
        state.figures = Some(sums.figures);
    }
    serde_json::to_string(&state).unwrap_or_else(|e| format!("{{\"troubles\":[\"{e}\"]}}"))
}

#[cfg(test)]
mod tests {
    use super::{PAGE, state};
    use crate::keep::shared::Shared;
    use sockway_datapath::Pins;
    use std::sync::Mutex;
    use std::time::Instant;

    #[test]
    fn the_page_asks_nobody_else_for_anything() {
        for word in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!PAGE.contains(word), "{word}");
        }
    }

    #[test]
    fn a_node_without_maps_still_has_a_state() {
        let shared = Shared::new(Instant::now());
        let known = shared.lock().clone();
        let text = state(&Pins::new("/proc/none"), &known, &Mutex::default());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["ready"], false);
        assert!(value["figures"].is_null());
        assert!(!value["troubles"].as_array().unwrap().is_empty());
    }
}

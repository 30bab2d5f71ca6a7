//! What is wrong in a section.

use std::fmt;

use serde_json::Value;

/// Characters of a value that a message shows.
const SHOWN: usize = 80;

/// A key that is not known, or one with a value that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, with the keys that lead to it: `envoyPorts.inbound`.
    pub key: String,
    /// The value as JSON, cut to a readable length.
    pub value: String,
    /// What is allowed in its place.
    pub allowed: String,
    /// Whether the key itself is not known.
    pub unknown: bool,
}

impl Problem {
    pub(super) fn wrong(key: &str, value: &Value, allowed: &str) -> Self {
        Self {
            key: key.to_owned(),
            value: shown(value),
            allowed: allowed.to_owned(),
            unknown: false,
        }
    }

    pub(super) fn unknown(key: &str, value: &Value, known: &[&str]) -> Self {
        Self {
            key: cut(key),
            value: shown(value),
            allowed: known.join(", "),
            unknown: true,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            value,
            allowed,
            unknown,
        } = self;
        if *unknown {
            write!(
                f,
                "unknown key {key:?} (value {value}); known keys: {allowed}"
            )
        } else {
            write!(f, "{key}: {value} is not allowed; allowed: {allowed}")
        }
    }
}

/// JSON escapes control characters, so the text is fit for a log line.
fn shown(value: &Value) -> String {
    cut(&value.to_string())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

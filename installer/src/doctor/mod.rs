//! Whether Sockway can run on this node, and how well: what the node says of
//! itself ([`facts`]), then a proof on its very kernel ([`proof`]).

pub mod exchange;
pub mod facts;
pub mod gate;
pub mod kconfig;
pub mod kept;
pub mod known_bad;
pub mod proof;
pub mod prove;
pub mod report;
pub mod scene;
pub mod version;
pub mod wire;

use serde::{Deserialize, Serialize};

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Cannot be told on this node; the proof decides.
    Unknown,
    /// Works with less.
    Limited,
    /// Sockway cannot run with it.
    Failed,
}

impl Verdict {
    /// The word in output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Limited => "limited",
            Self::Failed => "FAILED",
        }
    }
}

/// One thing that was looked at or tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at: a word that stays the same in every version.
    pub name: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found, for a person.
    pub found: String,
    /// What to do about it, or what is at risk without it; empty where nothing is.
    pub note: String,
}

impl Finding {
    /// Without a note.
    pub fn new(name: &str, verdict: Verdict, found: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            verdict,
            found: found.into(),
            note: String::new(),
        }
    }

    /// The same with a note.
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self {
            note: note.into(),
            ..self
        }
    }
}

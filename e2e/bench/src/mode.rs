//! What connections are made like while something is measured.

use serde::{Deserialize, Serialize};
use sockway_common::scope;

/// A way for bytes to get from one end to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// TCP, nothing attached.
    Plain,
    /// Sockway with all rules.
    Auto,
    /// Sockway, every hop and direction at once.
    All,
    /// Sockway between Envoys only.
    Proxy,
    /// The usual accelerator, by addresses and ports.
    Tuple,
    /// Sockway's pairing without any check at a send.
    Blind,
    /// Sockway with all rules, its maps full.
    Full,
    /// Sockway with all rules, of another build: `--object`.
    Other,
    /// An `AF_UNIX` socket pair in place of TCP.
    Unix,
}

impl Mode {
    /// Every mode, in the order of tables.
    pub(crate) const EVERY: [Self; 9] = [
        Self::Plain,
        Self::Auto,
        Self::All,
        Self::Proxy,
        Self::Tuple,
        Self::Blind,
        Self::Full,
        Self::Other,
        Self::Unix,
    ];

    /// As in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Auto => "auto",
            Self::All => "all",
            Self::Proxy => "proxy",
            Self::Tuple => "4-tuple",
            Self::Blind => "blind",
            Self::Full => "full maps",
            Self::Other => "other build",
            Self::Unix => "AF_UNIX",
        }
    }

    /// The scope that pods are registered with.
    pub(crate) const fn scope(self) -> u32 {
        match self {
            Self::Proxy => scope::PROXY,
            Self::All | Self::Blind => scope::ALL,
            _ => scope::AUTO,
        }
    }
}

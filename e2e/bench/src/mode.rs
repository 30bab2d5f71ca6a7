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
    /// As `All`, the hop between the Envoys over `AF_UNIX`.
    Pipes,
}

impl Mode {
    /// Every mode, in the order of tables.
    pub(crate) const EVERY: [Self; 10] = [
        Self::Plain,
        Self::Auto,
        Self::All,
        Self::Proxy,
        Self::Tuple,
        Self::Blind,
        Self::Full,
        Self::Other,
        Self::Unix,
        Self::Pipes,
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
            Self::Pipes => "all, Envoys over AF_UNIX",
        }
    }

    /// True where something is to be redirected.
    pub(crate) const fn redirects(self) -> bool {
        matches!(
            self,
            Self::Auto | Self::All | Self::Proxy | Self::Blind | Self::Other | Self::Pipes
        )
    }

    /// The scope's name in settings.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::All | Self::Blind | Self::Pipes => "all",
            _ => "auto",
        }
    }

    /// The scope that pods are registered with.
    pub(crate) const fn scope(self) -> u32 {
        match self {
            Self::Proxy => scope::PROXY,
            Self::All | Self::Blind | Self::Pipes => scope::ALL,
            _ => scope::AUTO,
        }
    }
}

//! How far a pod takes part, and why not further: one word of its row in `sandboxes`.
//!
//! The programs read the scope in `pods` only. Rows of older versions hold the plain scope here, which
//! reads the same.

use crate::scope;

/// Why the operator's settings leave a pod out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// Its namespace is excluded.
    Excluded,
    /// Only other namespaces take part.
    OtherNamespace,
    /// Only this share of pods takes part, per cent, and it is not among them.
    Percent(u8),
}

/// Who switched a pod off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switched {
    /// `sockway off --pod`.
    ByHand,
    /// The tripwire.
    Tripped,
}

/// What was decided about a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// What it was registered with, one of [`scope`].
    pub scope: u32,
    /// Why that is [`scope::OFF`], where the settings leave it out.
    pub left_out: Option<LeftOut>,
    /// Whether it was switched off since.
    pub switched: Option<Switched>,
}

/// Places of the word's bytes, as shifts.
const LEFT_OUT: u32 = 8;
const PERCENT: u32 = 16;
const SWITCHED: u32 = 24;

impl Part {
    /// A pod that takes part as far as a scope says.
    #[must_use]
    pub const fn of(scope: u32) -> Self {
        Self {
            scope,
            left_out: None,
            switched: None,
        }
    }

    /// A pod that is left out.
    #[must_use]
    pub const fn without(why: LeftOut) -> Self {
        Self {
            scope: scope::OFF,
            left_out: Some(why),
            switched: None,
        }
    }

    /// Reads the word; bytes that are not known mean nothing.
    #[must_use]
    pub const fn from_word(word: u32) -> Self {
        let [scope, left_out, percent, switched] = word.to_le_bytes();
        Self {
            scope: scope as u32,
            left_out: match left_out {
                1 => Some(LeftOut::Excluded),
                2 => Some(LeftOut::OtherNamespace),
                3 => Some(LeftOut::Percent(percent)),
                _ => None,
            },
            switched: match switched {
                1 => Some(Switched::ByHand),
                2 => Some(Switched::Tripped),
                _ => None,
            },
        }
    }

    /// The word.
    #[must_use]
    pub const fn word(self) -> u32 {
        let (left_out, percent) = match self.left_out {
            None => (0, 0),
            Some(LeftOut::Excluded) => (1, 0),
            Some(LeftOut::OtherNamespace) => (2, 0),
            Some(LeftOut::Percent(percent)) => (3, percent),
        };
        let switched = match self.switched {
            None => 0_u32,
            Some(Switched::ByHand) => 1,
            Some(Switched::Tripped) => 2,
        };
        self.scope & 0xff
            | left_out << LEFT_OUT
            | (percent as u32) << PERCENT
            | switched << SWITCHED
    }

    /// The scope that holds now.
    #[must_use]
    pub const fn in_effect(self) -> u32 {
        if self.switched.is_some() {
            scope::OFF
        } else {
            self.scope
        }
    }
}

#[cfg(feature = "user")]
impl core::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Excluded => f.write_str("left out: its namespace is excluded"),
            Self::OtherNamespace => f.write_str("left out: only other namespaces take part"),
            Self::Percent(percent) => write!(f, "left out: percent {percent}"),
        }
    }
}

#[cfg(feature = "user")]
impl core::fmt::Display for Switched {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::ByHand => "switched off",
            Self::Tripped => "tripped",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{LeftOut, Part, Switched};
    use crate::scope;

    #[test]
    fn what_is_written_is_read() {
        let reasons = [
            None,
            Some(LeftOut::Excluded),
            Some(LeftOut::OtherNamespace),
            Some(LeftOut::Percent(0)),
            Some(LeftOut::Percent(99)),
        ];
        for scope in [scope::OFF, scope::PROXY, scope::AUTO, scope::ALL] {
            for left_out in reasons {
                for switched in [None, Some(Switched::ByHand), Some(Switched::Tripped)] {
                    let part = Part {
                        scope,
                        left_out,
                        switched,
                    };
                    assert_eq!(Part::from_word(part.word()), part);
                    let off = switched.is_some() || scope == scope::OFF;
                    assert_eq!(part.in_effect() == scope::OFF, off);
                }
            }
            assert_eq!(
                Part::from_word(scope),
                Part::of(scope),
                "as older rows say it"
            );
            assert_eq!(Part::of(scope).word(), scope);
        }
    }
}

//! Releases of the kernel.

use std::fmt;

/// A release of upstream: 6.12.75 is `(6, 12, 75)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(major, minor, 0) => write!(f, "{major}.{minor}"),
            Self(major, minor, patch) => write!(f, "{major}.{minor}.{patch}"),
        }
    }
}

/// Two or three numbers with points between, and what follows them.
pub(super) fn numbers(text: &str) -> Option<(Version, &str)> {
    let number = |text: &mut &str| -> Option<u32> {
        let end = text.find(|c: char| !c.is_ascii_digit());
        let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
        *text = rest;
        digits.parse().ok()
    };
    let mut rest = text;
    let major = number(&mut rest)?;
    rest = rest.strip_prefix('.')?;
    let minor = number(&mut rest)?;
    let mut patch = 0;
    if let Some(mut third) = rest.strip_prefix('.')
        && let Some(number) = number(&mut third)
    {
        (patch, rest) = (number, third);
    }
    Some((Version(major, minor, patch), rest))
}

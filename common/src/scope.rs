//! How far a pod takes part.

/// Nothing of the pod is touched.
pub const OFF: u32 = 0;
/// Envoy to Envoy only.
pub const PROXY: u32 = 1;
/// Every hop, each direction as soon as it is known to be indistinguishable from TCP.
pub const AUTO: u32 = 2;
/// Every hop and direction at once: for those who know their applications.
pub const ALL: u32 = 3;

/// The scope of a connection between two pods: the more careful of the two.
#[inline(always)]
#[must_use]
pub const fn stricter(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}

/// The word for a scope as configuration and output spell it.
#[must_use]
pub const fn name(scope: u32) -> &'static str {
    match scope {
        OFF => "off",
        PROXY => "proxy",
        AUTO => "auto",
        ALL => "all",
        _ => "unknown",
    }
}

/// The scope that a word stands for; `None` for any other word.
#[must_use]
pub fn parse(word: &str) -> Option<u32> {
    [OFF, PROXY, AUTO, ALL]
        .into_iter()
        .find(|&scope| name(scope) == word)
}

/// Every word that [`parse`] takes, for messages.
pub const WORDS: &str = "auto, all, proxy, off";

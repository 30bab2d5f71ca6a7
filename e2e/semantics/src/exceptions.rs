//! What is known not to hold, and why. Everything else that does not hold is a failure, and so
//! is an entry here that does hold.

use crate::variant::Kinds;

/// One known exception.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exception {
    /// Name of the case.
    pub(crate) case: &'static str,
    /// The kinds of application that see it.
    pub(crate) kinds: Kinds,
    /// What they see and why.
    pub(crate) reason: &'static str,
}

/// The list.
pub(crate) const KNOWN: &[Exception] = &[];

/// The exception of a case, if there is one.
pub(crate) fn of(case: &str) -> Option<&'static Exception> {
    KNOWN.iter().find(|exception| exception.case == case)
}

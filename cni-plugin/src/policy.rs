//! What may fail a verb: the one rule, in one place.
//!
//! A pod is worth more than its acceleration. What goes wrong on our side (the
//! maps, the namespace, the addresses, our own section) is a warning, and the
//! verb goes on as if the plugin were not in the chain; `"strict": true` makes
//! it an error. What makes the *call* wrong (the environment, JSON that does
//! not decode, a version that is not spoken) is an error always.

use crate::error::Error;

/// How the plugin's own part of a verb ended.
#[derive(Debug)]
pub enum Outcome<T> {
    /// As it should.
    Done(T),
    /// Not at all; the verb goes on without it.
    Without(Error),
}

/// Applies the rule.
///
/// # Errors
/// The error itself, where it is to fail the verb.
pub fn settle<T>(strict: bool, result: Result<T, Error>) -> Result<Outcome<T>, Error> {
    match result {
        Ok(value) => Ok(Outcome::Done(value)),
        Err(error) if strict || !ours(&error) => Err(error),
        Err(error) => Ok(Outcome::Without(error)),
    }
}

/// Whether an error is about acceleration only.
const fn ours(error: &Error) -> bool {
    match error {
        Error::Section(_)
        | Error::Annotation { .. }
        | Error::Datapath(_)
        | Error::Netns { .. }
        | Error::PrevResult(_)
        | Error::Address(_)
        | Error::NoAddresses { .. }
        | Error::TooManyAddresses { .. } => true,
        Error::Version { .. }
        | Error::VerbVersion { .. }
        | Error::Env { .. }
        | Error::Stdin(_)
        | Error::TooLarge
        | Error::Decode { .. }
        | Error::Config(_)
        | Error::NoPrevResult
        | Error::Mismatch(_)
        | Error::NotThere(_)
        | Error::Limited(_)
        | Error::Gc { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, settle};
    use crate::error::Error;

    #[test]
    fn ours_is_a_warning_unless_strict() {
        let ours = || Err::<(), _>(Error::Address("x".into()));
        assert!(matches!(settle(false, ours()), Ok(Outcome::Without(_))));
        assert!(settle(true, ours()).is_err());
        assert!(settle(false, Err::<(), _>(Error::NoPrevResult)).is_err());
        assert!(matches!(settle(true, Ok(1)), Ok(Outcome::Done(1))));
    }
}

//! Everything that can fail a verb, and the one table of CNI error codes.

use std::io;

use sockway_common::pod::MAX_IPS;
use sockway_datapath::Error as DatapathError;
use sockway_datapath::section::Problem;

use crate::constants::{MAX_STDIN, SUPPORTED_VERSIONS};

/// An error of a verb. [`Error::code`] and [`Error::msg`] are what CNI is told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration speaks a version that the plugin does not.
    #[error("cniVersion {version:?} is not spoken here; supported: {}", SUPPORTED_VERSIONS.join(", "))]
    Version {
        /// The configuration's version.
        version: String,
    },

    /// The verb is younger than the configuration's version.
    #[error("{verb} needs cniVersion {since} or later, the configuration says {version}")]
    VerbVersion {
        /// The verb.
        verb: &'static str,
        /// The version that brought it.
        since: &'static str,
        /// The configuration's version.
        version: String,
    },

    /// An environment variable is missing or not usable.
    #[error("environment variable {name} {why}")]
    Env {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },

    /// Standard input could not be read.
    #[error("cannot read the configuration from standard input")]
    Stdin(#[source] io::Error),

    /// Standard input does not end.
    #[error("the configuration on standard input is larger than {MAX_STDIN} bytes")]
    TooLarge,

    /// Standard input is not what CNI demands.
    #[error("cannot decode {what}")]
    Decode {
        /// The part that is not right.
        what: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },

    /// A key that CNI demands is missing or wrong.
    #[error("network configuration: {0}")]
    Config(String),

    /// The plugin stands first in a chain, or alone.
    #[error(
        "network configuration has no prevResult: sockway-cni is a chained plugin, \
         put it after the plugin that makes the interface"
    )]
    NoPrevResult,

    /// Our own section is not right.
    #[error("sockway-cni section: {}", list(.0))]
    Section(Vec<Problem>),

    /// The pod says something about itself that is not allowed.
    #[error("pod annotation {name}: {value:?} is not allowed; allowed: {allowed}")]
    Annotation {
        /// The annotation.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },

    /// The maps could not be used.
    #[error(transparent)]
    Datapath(#[from] DatapathError),

    /// The pod's network namespace could not be used.
    #[error("network namespace {path:?}: {why}")]
    Netns {
        /// The namespace's path.
        path: String,
        /// What is wrong with it.
        why: String,
    },

    /// prevResult is not what results look like.
    #[error("cannot read the addresses of prevResult")]
    PrevResult(#[source] serde_json::Error),

    /// An address of prevResult does not parse.
    #[error("prevResult holds {0:?}, which is no IP address")]
    Address(String),

    /// There is nothing to register.
    #[error("neither prevResult nor interface {ifname} in the network namespace has an address")]
    NoAddresses {
        /// The interface.
        ifname: String,
    },

    /// There is more to register than an attachment may have.
    #[error("the attachment has {found} addresses, at most {MAX_IPS} are registered")]
    TooManyAddresses {
        /// How many there are.
        found: usize,
    },

    /// CHECK found something else than ADD left.
    #[error("{}", .0.join("; "))]
    Mismatch(Vec<String>),

    /// STATUS: nothing is accelerated on this node.
    #[error("{0}")]
    NotThere(String),

    /// STATUS: something works, not all.
    #[error("{0}")]
    Limited(String),

    /// GC could not take everything out.
    #[error("{removed} stale attachments taken out, but: {why}")]
    Gc {
        /// How many were taken out.
        removed: usize,
        /// What went wrong with the rest.
        why: String,
    },
}

impl Error {
    /// The CNI error code: 1 to 99 as the specification says, 100 and above ours.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Version { .. } | Self::VerbVersion { .. } => 1,
            Self::Env { .. } => 4,
            Self::Stdin(_) => 5,
            Self::Decode { .. } => 6,
            Self::TooLarge
            | Self::Config(_)
            | Self::NoPrevResult
            | Self::Section(_)
            | Self::Annotation { .. } => 7,
            Self::Datapath(DatapathError::Busy { .. }) => 11,
            Self::NotThere(_) => 50,
            Self::Limited(_) => 51,
            Self::Datapath(DatapathError::NotInstalled { .. } | DatapathError::NoBpffs { .. }) => {
                100
            }
            Self::Datapath(DatapathError::OtherLayout { .. }) => 101,
            Self::Datapath(_) => 102,
            Self::Netns { .. } => 103,
            Self::PrevResult(_)
            | Self::Address(_)
            | Self::NoAddresses { .. }
            | Self::TooManyAddresses { .. } => 104,
            Self::Mismatch(_) => 105,
            Self::Gc { .. } => 106,
        }
    }

    /// The short message that goes with the code.
    #[must_use]
    pub const fn msg(&self) -> &'static str {
        match self.code() {
            1 => "incompatible CNI version",
            4 => "invalid environment variable",
            5 => "i/o failure",
            6 => "failed to decode content",
            7 => "invalid network configuration",
            11 => "try again later",
            50 => "sockway is not available",
            51 => "sockway is limited",
            100 => "sockway is not installed on this node",
            101 => "sockway of another version is installed on this node",
            102 => "sockway's maps cannot be used",
            103 => "the network namespace cannot be used",
            104 => "the pod's addresses cannot be registered",
            105 => "the attachment is not registered as it should be",
            _ => "stale attachments cannot be removed",
        }
    }

    /// The whole story: the error and its causes.
    #[must_use]
    pub fn details(&self) -> String {
        chain(self)
    }
}

/// An error with its causes, outermost first.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn list(problems: &[Problem]) -> String {
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

#[cfg(test)]
mod tests;

//! Who calls the plugin: cnitool, libcni, or the test itself by the words of the specification.

mod by_hand;
mod cnitool;
pub(crate) mod libcni;

use std::net::IpAddr;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::chains::Chain;
use crate::node::Node;
use crate::pod::Pod;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Version,
    Status,
    Add,
    Check,
    Gc,
    Del,
}

impl Verb {
    pub(crate) const ALL: [Self; 6] = [
        Self::Version,
        Self::Status,
        Self::Add,
        Self::Check,
        Self::Gc,
        Self::Del,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Version => "VERSION",
            Self::Status => "STATUS",
            Self::Add => "ADD",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Del => "DEL",
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Driver {
    Cnitool,
    Libcni,
    ByHand,
}

impl Driver {
    pub(crate) const ALL: [Self; 3] = [Self::Cnitool, Self::Libcni, Self::ByHand];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cnitool => "cnitool",
            Self::Libcni => "libcni",
            Self::ByHand => "by hand",
        }
    }

    /// One call.
    pub(crate) fn call(self, node: &Node, chain: &Chain, call: &Call<'_>) -> Result<Answer> {
        match self {
            Self::Cnitool => cnitool::call(node, chain, call),
            Self::Libcni => libcni::call(node, chain, call),
            Self::ByHand => by_hand::call(node, chain, call),
        }
    }
}

/// A call about a pod's attachment.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) verb: Verb,
    pub(crate) pod: &'a Pod,
    /// What the runtime hands over; the chain's plugins get what they declare.
    pub(crate) capabilities: Value,
    /// Pods that GC is to keep.
    pub(crate) valid: Vec<&'a Pod>,
    /// The addresses of prevResult, where no plugin makes one.
    pub(crate) ips: Vec<IpAddr>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(verb: Verb, pod: &'a Pod) -> Self {
        Self {
            verb,
            pod,
            capabilities: Value::Null,
            valid: Vec::new(),
            ips: Vec::new(),
        }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The result of an ADD.
    pub(crate) result: Option<Value>,
    /// The error, where it failed.
    pub(crate) error: Option<Failure>,
}

/// An error, with the code where the driver tells it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: Option<u64>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) const OK: Self = Self {
        result: None,
        error: None,
    };

    pub(crate) fn failed(code: Option<u64>, text: impl Into<String>) -> Self {
        Self {
            result: None,
            error: Some(Failure {
                code,
                text: text.into(),
            }),
        }
    }

    /// Success, or an error that shows what came instead.
    pub(crate) fn ok(self) -> Result<Self> {
        match &self.error {
            None => Ok(self),
            Some(Failure { code, text }) => bail!("failed with code {code:?}: {text}"),
        }
    }

    /// Failure with this code (where the driver tells one) and these words.
    pub(crate) fn fails(self, code: u64, words: &str) -> Result<()> {
        match self.error {
            Some(error)
                if error.code.is_none_or(|found| found == code) && error.text.contains(words) =>
            {
                Ok(())
            }
            Some(Failure { code, text }) => {
                bail!("failed with code {code:?} and not with {words:?}: {text}")
            }
            None => bail!("succeeded, where it should have failed with {words:?}"),
        }
    }

    /// The addresses of an ADD's result.
    pub(crate) fn ips(&self) -> Vec<IpAddr> {
        let ips = self
            .result
            .iter()
            .filter_map(|result| result["ips"].as_array())
            .flatten();
        ips.filter_map(|ip| ip["address"].as_str()?.split('/').next()?.parse().ok())
            .collect()
    }
}

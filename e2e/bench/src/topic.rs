//! The questions that are measured.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A question that a group of cases answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Topic {
    /// The reference article's set-up: echo of 1 KiB over 64 connections
    Echo,
    /// 1 to 256 connections
    Connections,
    /// 64 B to 256 KiB
    Payloads,
    /// HTTP/1.1, HTTP/2, gRPC
    Protocols,
    /// A fixed number of requests per second
    Limited,
    /// One hop on one CPU
    Hop,
    /// New connections
    Connect,
    /// One stream through both Envoys, one way and both ways
    Bulk,
    /// Connections opened at once between pods, at addresses and listeners never seen before
    Cold,
    /// One gRPC channel for life, opened between pods never seen before
    Channel,
    /// A direction that is held on TCP beside a redirected one
    Held,
    /// nginx as server: it sends by redirection, what is sent to it may not
    Half,
    /// Connections that leave the node
    Tax,
    /// Beside many connections and many pods
    Scale,
    /// Where Sockway's maps are full
    Full,
}

impl Topic {
    /// True where every measurement has a node, pods and a keeper of its own.
    pub(crate) const fn fresh(self) -> bool {
        matches!(self, Self::Cold | Self::Channel)
    }
}

//! The same pods without and with acceleration, without and with mutual TLS, in turn.

use anyhow::{Context, Result};
use clap::ValueEnum;
use sockway_datapath::Datapath;

use super::node::Node;
use super::pod::{self, Pod};

/// What is spoken between the Envoys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mtls {
    /// Only without mutual TLS
    Off,
    /// Only with it
    On,
    /// Rows of both
    Both,
}

impl Mtls {
    /// Whether rows with mutual TLS, or without, are measured.
    pub const fn takes(self, secure: bool) -> bool {
        match self {
            Self::Both => true,
            Self::On => secure,
            Self::Off => !secure,
        }
    }
}

/// From now on the pods' new connections are plain TCP.
pub fn plain(node: &Node, pods: &[&Pod]) -> Result<()> {
    pod::quiet(pods)?;
    Datapath::detach(&node.pins()).context("detach the programs")
}

/// From now on the pods' new connections are accelerated.
pub fn accelerated(node: &Node, pods: &[&Pod]) -> Result<()> {
    pod::quiet(pods)?;
    node.install().map(drop)
}

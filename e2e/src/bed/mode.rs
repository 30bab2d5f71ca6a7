//! The same pods without and with acceleration, in turn.

use anyhow::{Context, Result};
use sockway_datapath::Datapath;

use super::node::Node;
use super::pod::{self, Pod};

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

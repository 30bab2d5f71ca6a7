//! A program: how it is started, what is done with it, what shall come of it.

use anyhow::Result;
use sockway_testkit::mesh::sidecar::Protocol;
use sockway_testkit::process::Process;

use super::facts::Facts;
use super::manner::Ends;
use super::route::Route;
use super::site::Site;

/// A server, a client and what they do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    /// Client and server in a few words.
    pub(crate) name: &'static str,
    /// What Envoy takes the port for.
    pub(crate) protocol: Protocol,
    /// IPv4 (0) or IPv6 (1).
    pub(crate) family: usize,
    /// Where they stand.
    pub(crate) route: Route,
    /// Starts the server: processes that run meanwhile.
    pub(crate) start: fn(&Site<'_>) -> Result<Vec<Process>>,
    /// What the client does; an error where something is wrong in itself.
    pub(crate) exchange: fn(&Site<'_>) -> Result<Facts>,
    /// How the two read.
    pub(crate) ends: Ends,
}

//! A program: how it is started, what is done with it, what shall come of it.

use anyhow::Result;

use super::facts::Facts;
use super::manner::Ends;
use super::site::Site;
use crate::bed::process::Process;
use crate::bed::sidecar::Protocol;

/// Where client and server stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// In two pods with sidecars.
    Mesh,
    /// In two pods without: the server behind Envoy's inbound port.
    Inbound,
    /// In one pod without: the server behind Envoy's outbound port.
    Outbound,
    /// In one pod without: the client dials from where Envoy dials applications from.
    App,
}

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

//! A program: how it is started, what is done with it, what shall come of it.

use anyhow::Result;

use super::facts::Facts;
use super::site::Site;
use crate::bed::process::Process;
use crate::bed::sidecar::Protocol;

/// How the bytes of an application's hop shall travel in scope `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Redirected, once the datapath has seen how the application reads.
    Redirected,
    /// By TCP, every one: the application could tell.
    Tcp,
    /// Either: there are too few connections to be sure that it was seen enough.
    Either,
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
    /// Starts the server: processes that run meanwhile.
    pub(crate) start: fn(&Site<'_>) -> Result<Vec<Process>>,
    /// What the client does; an error where something is wrong in itself.
    pub(crate) exchange: fn(&Site<'_>) -> Result<Facts>,
    /// From the client to its Envoy.
    pub(crate) client: Way,
    /// From Envoy to the server.
    pub(crate) server: Way,
}

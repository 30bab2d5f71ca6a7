//! Closed-loop load between pods, by a program that has the subcommand `load`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::node::Node;
use super::pod::Pod;
use super::sidecar::Protocol;
use crate::load::report::Report;
use crate::process::Process;

/// An echo server in a pod, once it listens at a port.
pub fn serve(
    node: &Node,
    pod: &Pod,
    program: &Path,
    protocol: Protocol,
    port: u16,
) -> Result<Process> {
    let (word, listen) = (protocol.word(), format!("[::]:{port}"));
    let args = ["load", "server", "--protocol", word, "--listen", &listen];
    let mut server = pod.start(node, &format!("load-{port}"), program, &args)?;
    server.wait_ready()?;
    Ok(server)
}

/// A client in a pod, with more arguments.
pub fn ask(
    node: &Node,
    pod: &Pod,
    program: &Path,
    (protocol, to): (Protocol, &str),
    more: &[&str],
) -> Result<Process> {
    let fixed = ["-o", "json", "load", "client", "--to", to];
    let args = [&fixed, ["--protocol", protocol.word()].as_slice(), more].concat();
    let port = to.rsplit(':').next().unwrap_or_default();
    pod.start(node, &format!("load-client-{port}"), program, &args)
}

/// What a client reports, once it has ended.
pub fn report(client: Process, limit: Duration) -> Result<Report> {
    let text = client.finish(limit)?;
    serde_json::from_str(text.trim()).with_context(|| format!("parse {text:?}"))
}

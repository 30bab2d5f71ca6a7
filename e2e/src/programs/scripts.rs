//! Node, Python's asyncio, and Python's threads, which block.

use std::ffi::OsStr;

use anyhow::Result;
use sockway_testkit::mesh::sidecar::Protocol;
use sockway_testkit::process::Process;

use super::manner::{Ends, Manner};
use super::program::Program;
use super::route::Route;
use super::site::Site;
use super::transfer;

const THREADS: &str = "threads.py";
const STREAMS: &str = "streams.py";

/// The programs.
pub(crate) fn programs() -> Vec<Program> {
    let node = Program {
        name: "Node http",
        protocol: Protocol::Http,
        family: 0,
        route: Route::Mesh,
        start: serve_node,
        exchange: |site| {
            let command = site.programs.script("node", "transfer.mjs")?;
            transfer::all(site, |site, wanted| transfer::own(site, &command, wanted))
        },
        ends: Ends {
            client: Manner::UntilEmpty,
            server: Manner::UntilEmpty,
        },
    };
    vec![
        node,
        Program {
            name: "Python asyncio, IPv6",
            protocol: Protocol::Tcp,
            family: 1,
            start: |site| serve_python(site, STREAMS),
            exchange: |site| {
                let command = site.programs.script("python3", STREAMS)?;
                transfer::all(site, |site, wanted| transfer::own(site, &command, wanted))
            },
            ..node
        },
        Program {
            name: "Python threads",
            protocol: Protocol::Tcp,
            start: serve_threads,
            exchange: |site| {
                let command = site.programs.script("python3", THREADS)?;
                transfer::all(site, |site, wanted| transfer::own(site, &command, wanted))
            },
            ends: Ends {
                client: Manner::Blocks,
                server: Manner::Blocks,
            },
            ..node
        },
    ]
}

/// Node's HTTP server.
pub(crate) fn serve_node(site: &Site<'_>) -> Result<Vec<Process>> {
    let command = site.programs.script("node", "server.mjs")?;
    Ok(vec![site.serve_files(&command)?])
}

/// Python's HTTP server with a thread for each connection.
pub(crate) fn serve_threads(site: &Site<'_>) -> Result<Vec<Process>> {
    serve_python(site, THREADS)
}

fn serve_python(site: &Site<'_>, script: &str) -> Result<Vec<Process>> {
    let mut command = site.programs.script("python3", script)?;
    command.push(OsStr::new("serve").to_owned());
    Ok(vec![site.serve_files(&command)?])
}

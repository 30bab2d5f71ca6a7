//! Netty 4.1 over its native epoll transport, which is edge-triggered, and the JDK's selector.

use anyhow::Result;
use sockway_testkit::mesh::sidecar::Protocol;
use sockway_testkit::process::Process;

use super::manner::{Ends, Manner};
use super::program::Program;
use super::route::Route;
use super::site::Site;
use super::transfer;

/// The programs.
pub(crate) fn programs() -> Vec<Program> {
    let netty = Program {
        name: "Netty, native epoll",
        protocol: Protocol::Tcp,
        family: 0,
        route: Route::Mesh,
        start: serve_netty,
        exchange: |site| {
            let command = site.programs.java("Netty")?;
            transfer::all(site, |site, wanted| transfer::own(site, &command, wanted))
        },
        ends: Ends {
            client: Manner::ShortReads,
            server: Manner::ShortReads,
        },
    };
    vec![
        netty,
        Program {
            name: "Java NIO, curl",
            family: 1,
            start: |site| serve(site, "Nio"),
            exchange: |site| transfer::all(site, transfer::curl),
            ends: Ends {
                client: Manner::UntilEmpty,
                server: Manner::UntilEmpty,
            },
            ..netty
        },
    ]
}

/// Netty as a server.
pub(crate) fn serve_netty(site: &Site<'_>) -> Result<Vec<Process>> {
    serve(site, "Netty")
}

fn serve(site: &Site<'_>, class: &str) -> Result<Vec<Process>> {
    let mut command = site.programs.java(class)?;
    command.push("serve".into());
    Ok(vec![site.serve_files(&command)?])
}

//! hyper on tokio, which takes a short read for the end: in a mesh, and behind
//! Envoy's ports, where ztunnel (tokio too) listens in a pod without a sidecar.

use std::ffi::OsString;

use anyhow::Result;
use sockway_testkit::mesh::sidecar::Protocol;
use sockway_testkit::process::Process;

use super::golang;
use super::java;
use super::manner::{Ends, Manner};
use super::program::Program;
use super::route::Route;
use super::scripts;
use super::site::Site;
use super::transfer;

/// The programs.
pub(crate) fn programs() -> Vec<Program> {
    let mesh = Program {
        name: "hyper on tokio",
        protocol: Protocol::Tcp,
        family: 0,
        route: Route::Mesh,
        start: serve,
        exchange: |site| {
            transfer::all(site, |site, wanted| {
                transfer::own(site, &hyper(site), wanted)
            })
        },
        ends: Ends {
            client: Manner::ShortReads,
            server: Manner::ShortReads,
        },
    };
    // A client that reads until nothing is left: its end is fit for everything.
    let uploads = Program {
        exchange: |site| transfer::all(site, golang::client),
        ends: Ends {
            client: Manner::UntilEmpty,
            ..mesh.ends
        },
        ..mesh
    };
    let blocking = Program {
        start: scripts::serve_threads,
        exchange: |site| transfer::all(site, transfer::curl),
        ends: Ends {
            client: Manner::UntilEmpty,
            server: Manner::Blocks,
        },
        ..mesh
    };
    vec![
        mesh,
        Program {
            name: "hyper at 15006, no sidecar, Go client",
            route: Route::Inbound,
            ..uploads
        },
        Program {
            name: "Netty at 15006, no sidecar, Go client",
            route: Route::Inbound,
            start: java::serve_netty,
            ..uploads
        },
        Program {
            name: "Python threads at 15006, no sidecar",
            route: Route::Inbound,
            ..blocking
        },
        Program {
            name: "hyper at 15001, no sidecar, Go client",
            route: Route::Outbound,
            ..uploads
        },
        Program {
            name: "Python threads at 15001, no sidecar",
            route: Route::Outbound,
            ..blocking
        },
        Program {
            name: "hyper, dialled from 127.0.0.6 by hyper",
            route: Route::App,
            ..mesh
        },
        Program {
            name: "Python threads, dialled from 127.0.0.6 by curl",
            route: Route::App,
            ..blocking
        },
    ]
}

fn hyper(site: &Site<'_>) -> [OsString; 1] {
    [site.programs.hyper.clone().into()]
}

fn serve(site: &Site<'_>) -> Result<Vec<Process>> {
    let command = [site.programs.hyper.clone().into(), "serve".into()];
    Ok(vec![site.serve_files(&command)?])
}

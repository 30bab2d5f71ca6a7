//! Go: io.Copy, which splices; gRPC; WebSocket.

use anyhow::Result;

use super::facts::Facts;
use super::program::{Program, Way};
use super::site::Site;
use crate::bed::process::Process;
use crate::bed::sidecar::Protocol;

/// The programs.
pub(crate) fn programs() -> Vec<Program> {
    let echo = Program {
        name: "Go echo by io.Copy, Go client",
        protocol: Protocol::Tcp,
        family: 0,
        start: |site| Ok(vec![site.serve_go("echo", &[])?]),
        exchange: dial,
        client: Way::Redirected,
        server: Way::Tcp,
    };
    vec![
        echo,
        Program {
            name: "Go relay: reads, then io.Copy",
            family: 1,
            start: relay,
            ..echo
        },
        Program {
            name: "gRPC, routed by Envoy as HTTP/2",
            protocol: Protocol::Http,
            start: |site| Ok(vec![site.serve_go("grpc-server", &[])?]),
            exchange: |site| calls(site, "grpc-client"),
            server: Way::Redirected,
            ..echo
        },
        Program {
            name: "gRPC, by TCP, IPv6",
            family: 1,
            start: |site| Ok(vec![site.serve_go("grpc-server", &[])?]),
            exchange: |site| calls(site, "grpc-client"),
            server: Way::Redirected,
            ..echo
        },
        Program {
            name: "WebSocket, upgraded by Envoy",
            protocol: Protocol::Http,
            start: |site| Ok(vec![site.serve_go("ws-server", &[])?]),
            exchange: |site| calls(site, "ws-client"),
            server: Way::Redirected,
            ..echo
        },
    ]
}

/// A relay and the echo behind it, which only the relay calls.
fn relay(site: &Site<'_>) -> Result<Vec<Process>> {
    let behind = format!("127.0.0.1:{BEHIND}");
    let echo = site.serve_at(BEHIND, &site.programs.go, &["echo", "-listen", &behind])?;
    let relay = site.serve_go("relay", &["-to", &behind])?;
    Ok(vec![relay, echo])
}

/// A port of 127.0.0.1 in the server's pod, out of every range of the pods'.
pub(crate) const BEHIND: u16 = 7000;

/// Small exchanges first, from which the datapath learns, then large ones.
pub(crate) fn dial(site: &Site<'_>) -> Result<Facts> {
    let mut facts = Facts::default();
    for (count, size) in [
        ("20", "1000"),
        ("4", "100000"),
        ("2", "20000000"),
        ("5", "9"),
    ] {
        let run = site.go_client("dial", &["-count", count, "-size", size])?;
        facts.succeed(&format!("{count} x {size}"), run)?;
    }
    Ok(facts)
}

fn calls(site: &Site<'_>, command: &str) -> Result<Facts> {
    let mut facts = Facts::default();
    for round in ["first", "second"] {
        let run = site.go_client(command, &["-count", "8"])?;
        facts.succeed(round, run)?;
        // What Envoy calls the server by is one connection for many calls: the
        // first is watched, and goes with the last call.
        site.world.quiet()?;
    }
    Ok(facts)
}

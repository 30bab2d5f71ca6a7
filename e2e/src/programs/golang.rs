//! Go: io.Copy, which splices; gRPC; WebSocket.

use std::time::Duration;

use anyhow::{Result, ensure};
use sockway_testkit::mesh::sidecar::Protocol;
use sockway_testkit::process::Process;

use super::facts::Facts;
use super::manner::{Ends, Manner};
use super::program::Program;
use super::route::Route;
use super::site::Site;
use super::transfer::{self, BOTH, Transfer};

/// The programs.
pub(crate) fn programs() -> Vec<Program> {
    let echo = Program {
        name: "Go echo by io.Copy, Go client",
        protocol: Protocol::Tcp,
        family: 0,
        start: |site| Ok(vec![site.serve_go("echo", &[])?]),
        exchange: dial,
        route: Route::Mesh,
        ends: Ends {
            client: Manner::UntilEmpty,
            server: Manner::Splices,
        },
    };
    // Go reads again until nothing is left.
    let fit = Ends {
        client: Manner::UntilEmpty,
        server: Manner::UntilEmpty,
    };
    vec![
        // First, when nothing is known of anybody.
        Program {
            name: "gRPC, one channel for life, cold",
            start: stream_server,
            exchange: channel,
            ends: fit,
            ..echo
        },
        Program {
            name: "gRPC streams of files",
            protocol: Protocol::Http,
            start: stream_server,
            exchange: |site| transfer::all(site, streams),
            ends: fit,
            ..echo
        },
        Program {
            name: "Go net/http",
            protocol: Protocol::Http,
            start: web,
            exchange: |site| transfer::all(site, client),
            ends: fit,
            ..echo
        },
        Program {
            name: "Go proxy by io.Copy, Go net/http client",
            start: |site| {
                let (socket, behind) = site.serve_behind()?;
                Ok(vec![site.serve_go("relay", &["-to", &socket])?, behind])
            },
            exchange: |site| transfer::all(site, client),
            ..echo
        },
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
            ends: fit,
            ..echo
        },
        Program {
            name: "gRPC, by TCP, IPv6",
            family: 1,
            start: |site| Ok(vec![site.serve_go("grpc-server", &[])?]),
            exchange: |site| calls(site, "grpc-client"),
            ends: fit,
            ..echo
        },
        Program {
            name: "WebSocket, upgraded by Envoy",
            protocol: Protocol::Http,
            start: |site| Ok(vec![site.serve_go("ws-server", &[])?]),
            exchange: |site| calls(site, "ws-client"),
            ends: fit,
            ..echo
        },
    ]
}

/// Go's HTTP server of the files.
pub(crate) fn web(site: &Site<'_>) -> Result<Vec<Process>> {
    let root = site.files.dir().to_string_lossy();
    Ok(vec![site.serve_go("web", &["-root", &root])?])
}

/// Go's HTTP client.
pub(crate) fn client(site: &Site<'_>, wanted: &Transfer) -> Result<Vec<String>> {
    transfer::own(site, &[site.programs.go.clone().into()], wanted)
}

fn stream_server(site: &Site<'_>) -> Result<Vec<Process>> {
    let root = site.files.dir().to_string_lossy();
    Ok(vec![site.serve_go("stream-server", &["-root", &root])?])
}

/// One channel for all files of a transfer.
fn streams(site: &Site<'_>, wanted: &Transfer) -> Result<Vec<String>> {
    transfer::own(
        site,
        &[site.programs.go.clone().into(), "stream".into()],
        wanted,
    )
}

/// Fetches and sends on a channel that is open for three seconds already.
fn channel(site: &Site<'_>) -> Result<Facts> {
    const COUNT: usize = 200;
    let (to, count, file) = (site.to(), COUNT.to_string(), site.files.get("page"));
    let file = file.to_string_lossy();
    let args = ["channel", "-to", &to, "-count", &count, &file];
    let (pod, node) = (site.client_pod(), &site.world.node);
    let mut client = pod.start(node, "channel", &site.programs.go, &args)?;
    let said = |word| move |client: &Process| Ok(client.output()?.lines().any(|l| l == word));
    client.wait_for("is steady", said("steady"))?;
    site.phase(BOTH, || client.wait_within(LIMIT, "has done", said("done")))?;
    let text = client.finish(LIMIT)?;
    let mut facts = Facts::default();
    let wanted = site.files.sum("page")?;
    for line in text.lines().filter(|line| line.len() == wanted.len()) {
        ensure!(line == wanted, "other bytes came than were sent: {line}");
        facts.add("page", line);
    }
    ensure!(
        facts.count() == 2 * COUNT,
        "not all was fetched and sent: {text}"
    );
    Ok(facts)
}

/// How long the channel may take.
const LIMIT: Duration = Duration::from_mins(1);

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

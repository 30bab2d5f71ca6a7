//! Verified traffic and load between the pods.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{HTTP, Path, World, base};
use crate::bed::pod::at;
use crate::bed::sidecar::{Protocol, vip};
use crate::hops::{Figures, Hops};
use crate::load::report::Report as Load;
use crate::traffic::report::Report;

/// How long one case's traffic may take.
const LIMIT: Duration = Duration::from_mins(2);

/// What both ends and the datapath say about a case's traffic.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The connecting end.
    pub(crate) client: Report,
    /// What the datapath counted meanwhile.
    pub(crate) hops: Hops,
}

/// Traffic of a case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic<'a> {
    /// Who calls whom.
    pub(crate) path: Path,
    /// IPv4 (0) or IPv6 (1).
    pub(crate) family: usize,
    /// The server's listening address and its manner, without the port: `[::]` or `0.0.0.0`, `,greet`, `,defer`.
    pub(crate) listen: (&'a str, &'a str),
    /// More arguments for the server.
    pub(crate) server: &'a [&'a str],
    /// More arguments for the client.
    pub(crate) client: &'a [&'a str],
    /// Service addresses that the client uses in turn.
    pub(crate) vips: u8,
    /// Connections.
    pub(crate) connections: u32,
    /// How long they may take.
    pub(crate) limit: Duration,
}

impl Traffic<'_> {
    /// Plain non-blocking traffic.
    pub(crate) const fn new(path: Path, family: usize) -> Self {
        Self {
            path,
            family,
            listen: ("[::]", ""),
            server: &[],
            client: &[],
            vips: 1,
            connections: 1000,
            limit: LIMIT,
        }
    }
}

impl World {
    /// Runs a server and a client; an error where a byte was wrong at either end.
    ///
    /// Before the traffic a few connections one after the other, from which
    /// the datapath learns how the applications read.
    pub(crate) fn traffic(&self, traffic: &Traffic<'_>) -> Result<Outcome> {
        let Traffic {
            path,
            family,
            listen,
            server,
            client,
            vips,
            connections,
            limit,
        } = *traffic;
        let (asking, answering) = self.pods(path);
        let port = self.next_port(base(path))?;
        let listen = format!("{}:{port}{}", listen.0, listen.1);
        let args = [
            &["-o", "json", "traffic", "server", "--listen", &listen],
            server,
        ]
        .concat();
        let mut process = answering.spawn(&self.node, &format!("traffic-{port}"), &args)?;
        process.wait_ready()?;

        let to = self.addresses(path, family, port, vips);
        let to: Vec<&str> = to.iter().flat_map(|to| ["--to", to]).collect();
        let ask = |name: &str, more: &[&str]| -> Result<Report> {
            let args = [
                &["-o", "json", "traffic", "client"],
                to.as_slice(),
                client,
                more,
            ]
            .concat();
            let process = asking.spawn(&self.node, &format!("{name}-{port}"), &args)?;
            let text = process.finish(limit)?;
            serde_json::from_str(text.trim()).with_context(|| format!("parse {text:?}"))
        };
        let warm = (u32::from(vips) * 6).to_string();
        let warm_up = [
            "--connections",
            &warm,
            "--concurrency",
            "1",
            "--kinds",
            "rounds",
            "--seed",
            "7",
        ];
        let first = ask("warm-up", &warm_up).context("warm-up")?;
        let pins = self.node.pins();
        let before = Figures::read(&pins)?;
        let count = connections.to_string();
        let second = ask("client", &["--connections", &count])?;
        let text = process.end(LIMIT)?;
        let hops = Figures::read(&pins)?.since(&before);
        let line = text.lines().find(|line| line.starts_with('{'));
        let served: Report = serde_json::from_str(line.context("the server gave no report")?)?;
        ensure!(served.good(), "the server saw faults: {served}");
        let made = first.connections + second.connections;
        ensure!(
            served.connections == made,
            "{made} connections made, {} accepted",
            served.connections
        );
        ensure!(
            second.connections == u64::from(connections),
            "the client stopped early: {second}"
        );
        Ok(Outcome {
            client: second,
            hops,
        })
    }

    /// Closed-loop echo load through both Envoys; an error where an answer was wrong.
    pub(crate) fn load(
        &self,
        protocol: Protocol,
        family: usize,
        client: &[&str],
    ) -> Result<(Load, Hops)> {
        let (name, port) = match protocol {
            Protocol::Tcp => ("tcp", self.next_port(base(Path::ThroughBoth))?),
            Protocol::Http => ("http", self.next_port(HTTP)?),
        };
        let listen = format!("[::]:{port}");
        let args = ["load", "server", "--protocol", name, "--listen", &listen];
        let mut server = self
            .server
            .spawn(&self.node, &format!("load-{port}"), &args)?;
        server.wait_ready()?;
        let to = at(vip(family, 10), port);
        let args = [
            &[
                "-o",
                "json",
                "load",
                "client",
                "--protocol",
                name,
                "--to",
                &to,
                "--warm-up",
                "4",
            ],
            client,
        ]
        .concat();
        let pins = self.node.pins();
        let before = Figures::read(&pins)?;
        let process = self
            .client
            .spawn(&self.node, &format!("load-client-{port}"), &args)?;
        let text = process.finish(LIMIT)?;
        let hops = Figures::read(&pins)?.since(&before);
        let load: Load =
            serde_json::from_str(text.trim()).with_context(|| format!("parse {text:?}"))?;
        Ok((load, hops))
    }
}

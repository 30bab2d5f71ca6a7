//! Verified traffic and load between the pods.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sockway_testkit::hops::{Figures, Hops};
use sockway_testkit::load::report::Report as Load;
use sockway_testkit::mesh::load;
use sockway_testkit::mesh::pod::{Pod, at};
use sockway_testkit::mesh::sidecar::{Protocol, vip};
use sockway_testkit::process::Process;
use sockway_testkit::traffic::report::Report;

use super::ports::Range;
use super::{Path, World};

/// Connections of the warm-up, for each service address.
const WARM_UP: u32 = 6;
/// They ask and answer, whatever the traffic does, and end well.
const WARM_UP_MANNER: &[&str] = &["--kinds", "rounds", "--seed", "7"];
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

/// A case's traffic that is under way.
#[derive(Debug)]
pub(crate) struct Running {
    /// The accepting application.
    pub(crate) server: Process,
    /// The connecting application.
    pub(crate) client: Process,
    /// Where the server listens.
    pub(crate) port: u16,
    first: Report,
    before: Figures,
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
    /// Where the server listens; a port that was never used unless given.
    pub(crate) port: Option<u16>,
    /// With mutual TLS between the sidecars.
    pub(crate) secure: bool,
}

/// Every shape of conversation that survives mutual TLS between Envoys.
///
/// Envoy itself loses the end of a half-closed stream under TLS, on plain TCP too, when the record that
/// says so finds no room in the send buffer: one of some ten thousand where the server shut down
/// first (`soak --plain --only mtls`). The case `mtls/half_closed` holds acceleration to that.
pub(crate) const WHOLE: &[&str] = &[
    "--kinds",
    "rounds,burst,client-abort,server-abort",
    "--endings",
    "client-shuts,client-closes",
];

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
            port: None,
            secure: false,
        }
    }
}

impl World {
    /// Runs a server and a client; an error where a byte was wrong at either end.
    ///
    /// Before the traffic a few connections one after the other, from which
    /// the datapath learns how the applications read.
    pub(crate) fn traffic(&self, traffic: &Traffic<'_>) -> Result<Outcome> {
        self.traffic_during(traffic, || Ok(()))
    }

    /// The same, doing something while the traffic runs.
    pub(crate) fn traffic_during(
        &self,
        traffic: &Traffic<'_>,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<Outcome> {
        self.traffic_with(traffic, |_| meanwhile())
    }

    /// The same, handing over the client that runs.
    pub(crate) fn traffic_with(
        &self,
        traffic: &Traffic<'_>,
        meanwhile: impl FnOnce(&mut Process) -> Result<()>,
    ) -> Result<Outcome> {
        let Running {
            server,
            mut client,
            first,
            before,
            ..
        } = self.begin(traffic)?;
        meanwhile(&mut client)?;
        let second = report(client, traffic.limit);
        let text = server.end(LIMIT);
        // What the other end saw tells where it went wrong.
        let second = second.with_context(|| match &text {
            Ok(served) => format!("the server saw {}", served.trim()),
            Err(error) => format!("the server: {error:#}"),
        })?;
        let text = text?;
        let hops = self
            .figures_if_installed()?
            .map_or_else(Hops::default, |now| now.since(&before));
        let served = Report::in_output(&text)?;
        ensure!(served.good(), "the server saw faults: {served}");
        let made = first.connections + second.connections;
        ensure!(
            served.connections == made,
            "{made} connections made, {} accepted",
            served.connections
        );
        ensure!(
            second.connections == u64::from(traffic.connections),
            "the client stopped early: {second}"
        );
        Ok(Outcome {
            client: second,
            hops,
        })
    }

    /// Starts a server and a client, after the warm-up.
    pub(crate) fn begin(&self, traffic: &Traffic<'_>) -> Result<Running> {
        let Traffic {
            path,
            family,
            listen,
            server,
            client,
            vips,
            connections,
            limit: _,
            port,
            secure,
        } = *traffic;
        let (asking, answering) = self.pods(path);
        let port = port.map_or_else(|| self.ports.next(Range::of(path, secure)), Ok)?;
        let listen = format!("{}:{port}{}", listen.0, listen.1);
        let args = [
            &["-o", "json", "traffic", "server", "--listen", &listen],
            server,
        ]
        .concat();
        let mut server = answering.spawn(&self.node, &format!("traffic-{port}"), &args)?;
        server.wait_ready()?;

        let to = self.addresses(path, family, port, vips);
        let to: Vec<&str> = to.iter().flat_map(|to| ["--to", to]).collect();
        let ask = |name: &str, more: &[&str]| {
            let fixed = ["-o", "json", "traffic", "client"];
            let args = [&fixed, to.as_slice(), client, more].concat();
            asking.spawn(&self.node, &format!("{name}-{port}"), &args)
        };
        let first = warm_up(vips, &ask).context("warm-up")?;
        let before = self.figures_if_installed()?.unwrap_or_default();
        let client = ask("client", &["--connections", &connections.to_string()])?;
        Ok(Running {
            server,
            client,
            port,
            first,
            before,
        })
    }

    /// `None` where what ran meanwhile took Sockway off.
    fn figures_if_installed(&self) -> Result<Option<Figures>> {
        let installed = self.node.pins().dir().exists();
        installed.then(|| self.figures()).transpose()
    }

    /// What the datapath has counted so far.
    pub(crate) fn figures(&self) -> Result<Figures> {
        Figures::read(&self.node.pins())
    }

    /// Closed-loop echo load through both Envoys; an error where an answer was wrong.
    pub(crate) fn load(
        &self,
        protocol: Protocol,
        family: usize,
        client: &[&str],
    ) -> Result<(Load, Hops)> {
        self.load_during(protocol, family, client, || Ok(()))
    }

    /// The same with mutual TLS between the sidecars.
    pub(crate) fn load_secure(
        &self,
        protocol: Protocol,
        family: usize,
        client: &[&str],
    ) -> Result<(Load, Hops)> {
        let range = match protocol {
            Protocol::Tcp => Range::Secure,
            Protocol::Http => Range::SecureHttp,
        };
        self.load_at(range, family, client, |_| Ok(()))
    }

    /// The same, doing something while the load runs.
    pub(crate) fn load_during(
        &self,
        protocol: Protocol,
        family: usize,
        client: &[&str],
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<(Load, Hops)> {
        self.load_with(protocol, family, client, |_| meanwhile())
    }

    /// The same, handing over the client that runs.
    pub(crate) fn load_with(
        &self,
        protocol: Protocol,
        family: usize,
        client: &[&str],
        meanwhile: impl FnOnce(&mut Process) -> Result<()>,
    ) -> Result<(Load, Hops)> {
        let range = match protocol {
            Protocol::Tcp => Range::Server,
            Protocol::Http => Range::Http,
        };
        self.load_at(range, family, client, meanwhile)
    }

    /// An error where the server's Envoy answers somebody who speaks no TLS at a port that asks for it.
    pub(crate) fn refuses_without_tls(&self) -> Result<()> {
        let port = self.ports.next(Range::Secure)?;
        let (node, program) = (&self.node, &self.node.tools.this);
        let _server = load::serve(node, &self.server, program, Protocol::Tcp, port)?;
        let ask = |from: &Pod, to: IpAddr| {
            let to = at(to, port);
            let brief = ["--warm-up", "1", "--duration", "100"];
            let client = load::ask(node, from, program, (Protocol::Tcp, &to), &brief)?;
            client.finish(LIMIT)
        };
        ask(&self.client, vip(0, 10)).context("with TLS")?;
        let answer = ask(&self.plain_client, self.server.ips()[0]);
        ensure!(answer.is_err(), "without TLS it was answered: {answer:?}");
        Ok(())
    }

    fn load_at(
        &self,
        range: Range,
        family: usize,
        client: &[&str],
        meanwhile: impl FnOnce(&mut Process) -> Result<()>,
    ) -> Result<(Load, Hops)> {
        let (port, protocol) = (self.ports.next(range)?, range.protocol());
        let (node, program) = (&self.node, &self.node.tools.this);
        let _server = load::serve(node, &self.server, program, protocol, port)?;
        let to = at(vip(family, 10), port);
        let args = [&["--warm-up", "4"], client].concat();
        let before = self.figures_if_installed()?.unwrap_or_default();
        let mut process = load::ask(node, &self.client, program, (protocol, &to), &args)?;
        meanwhile(&mut process)?;
        let load = load::report(process, LIMIT)?;
        let hops = self
            .figures_if_installed()?
            .map_or_else(Hops::default, |now| now.since(&before));
        Ok((load, hops))
    }
}

/// A client's report, once it has ended.
fn report(client: Process, limit: Duration) -> Result<Report> {
    let text = client.finish(limit)?;
    Report::in_output(&text)
}

/// A few connections one after the other.
fn warm_up(vips: u8, ask: &dyn Fn(&str, &[&str]) -> Result<Process>) -> Result<Report> {
    let connections = (u32::from(vips) * WARM_UP).to_string();
    let one_by_one = ["--connections", &connections, "--concurrency", "1"];
    report(
        ask("warm-up", &[&one_by_one, WARM_UP_MANNER].concat())?,
        LIMIT,
    )
}

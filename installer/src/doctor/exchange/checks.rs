//! The steps of the exchange, each with what has to be seen.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sockway_common::addr::IpKey;
use sockway_common::counters::{Reason, Stats};
use sockway_common::layout::{PENDING, SOCKETS};
use sockway_common::pair::hop;
use sockway_common::pod::{
    DEFAULT_INBOUND_PORT, DEFAULT_OUTBOUND_PORT, OwnerKey, PodRow, SandboxRow,
};
use sockway_common::scope;
use sockway_datapath::{InstallReport, Pins, Registry, stats};

use crate::doctor::Verdict;
use crate::doctor::wire::Wire;
use crate::ui;

/// A pod that always takes part. All of 127.0.0.0/8 is local to `lo`, so no address has to be set.
const POD: Ipv4Addr = Ipv4Addr::new(127, 86, 0, 1);
/// Who connects to it.
const PEER: Ipv4Addr = Ipv4Addr::new(127, 86, 0, 2);
/// A pod whose applications are watched first.
const WATCHED: Ipv4Addr = Ipv4Addr::new(127, 86, 0, 3);
/// Envoy's source towards its own application.
const ENVOY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// An application that does not block, and one that does.
const APP: u16 = 8080;
const BLOCKING_APP: u16 = 8081;

const MESSAGE: usize = 1024;
/// One message of the sender whose reader does not read.
const LARGE: usize = 16 << 10;
/// What the kernel may take beyond the limit and TCP's own buffers.
const SLACK: u64 = 1 << 20;
/// Rounds until a direction is back from TCP: looks back off to every 64th send.
const DRAIN_ROUNDS: usize = 600;
/// Rounds without a byte on `lo` after which it counts as back.
const QUIET_ROUNDS: usize = 20;

/// How a step that did not fail went, and what was seen.
pub(super) type Seen = (Verdict, String);

/// As it should be.
pub(super) fn ok(found: impl Into<String>) -> Seen {
    (Verdict::Ok, found.into())
}

/// A sender was stopped after so many bytes.
pub(super) fn stopped(bytes: u64) -> Seen {
    let bytes = ui::bytes(bytes);
    ok(format!(
        "a sender whose peer does not read stopped after {bytes}"
    ))
}

/// A connection to the pod that always takes part.
pub(super) fn open(listener: &TcpListener) -> Result<Wire> {
    Wire::open(
        listener,
        PEER,
        SocketAddrV4::new(POD, DEFAULT_INBOUND_PORT),
        false,
    )
}

fn listen(ip: Ipv4Addr, port: u16) -> Result<TcpListener> {
    let listener =
        TcpListener::bind((ip, port)).with_context(|| format!("cannot listen on {ip}:{port}"))?;
    listener
        .set_nonblocking(true)
        .context("cannot set O_NONBLOCK")?;
    Ok(listener)
}

/// Bytes that `lo` of this namespace received so far.
fn lo_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/dev")
        .context("cannot read the interfaces' counters")?;
    text.lines()
        .find_map(|line| line.trim().strip_prefix("lo:"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .context("there is no lo")
}

/// The last number of a setting such as `net.ipv4.tcp_rmem`, bytes.
fn buffer_limit(name: &str) -> u64 {
    /// The kernel's own default at most.
    const USUAL: u64 = 6 << 20;
    let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
    text.split_whitespace()
        .last()
        .and_then(|n| n.parse().ok())
        .unwrap_or(USUAL)
}

/// All that was sent is read, each byte in its place.
pub(super) fn read_all(wire: &mut Wire, count: u64) -> Result<Seen> {
    wire.server.receive(usize::try_from(count)?)?;
    Ok(ok(format!(
        "{} in order, partly redirected and partly by TCP",
        ui::bytes(count)
    )))
}

/// The last bytes before a FIN arrive, and the other direction lives on.
pub(super) fn half_close(mut wire: Wire) -> Result<Seen> {
    wire.client.send(10 * MESSAGE)?;
    wire.client.finish()?;
    wire.client.sends_no_more()?;
    wire.server.receive(10 * MESSAGE)?;
    wire.server.ends()?;
    wire.server.send(10 * MESSAGE)?;
    wire.client.receive(10 * MESSAGE)?;
    let Wire { mut client, server } = wire;
    drop(server);
    client.ends()?;
    Ok((
        Verdict::Ok,
        "the last bytes, the end and the answer arrived".to_owned(),
    ))
}

/// Programs in place, and the pods that they know.
pub(super) struct Place<'a> {
    pub(super) pins: &'a Pins,
    pub(super) report: &'a InstallReport,
    pub(super) backlog_limit: u32,
}

impl Place<'_> {
    fn stats(&self) -> Result<Stats> {
        stats::read(self.pins).context("cannot read the counters")
    }

    /// Registers the pods and listens.
    pub(super) fn prepare(&self) -> Result<TcpListener> {
        let mut registry = Registry::open(self.pins)?;
        for (ip, scope) in [(POD, scope::ALL), (WATCHED, scope::AUTO)] {
            let owner = OwnerKey::new(&ip.to_string(), "lo");
            let row = PodRow {
                owner,
                outbound_port: DEFAULT_OUTBOUND_PORT,
                inbound_port: DEFAULT_INBOUND_PORT,
                scope,
            };
            let mut sandbox = SandboxRow {
                ip_count: 1,
                ..SandboxRow::default()
            };
            sandbox.ips[0] = IpKey::from(IpAddr::V4(ip));
            registry.register(owner, &sandbox, &row)?;
        }
        listen(POD, DEFAULT_INBOUND_PORT)
    }

    /// The two ends of a connection find each other.
    pub(super) fn join(&self, listener: &TcpListener) -> Result<Seen> {
        let _wire = open(listener)?;
        let stats = self.stats()?;
        if stats.paired[hop::INBOUND as usize] == 1 && stats.joined[hop::INBOUND as usize] == 2 {
            return Ok(ok("both ends of a connection were found and joined"));
        }
        if let Some(limit) = self.report.limits.first() {
            bail!("a connection was not joined: {limit}");
        }
        ensure!(
            stats.syns[hop::INBOUND as usize] > 0,
            "the programs did not see a connection of their own cgroup: a sock_ops program of another \
             owner keeps them from running, or sockets are not matched to cgroups (net_cls or net_prio \
             in use on a kernel before 5.15)"
        );
        let why: Vec<&str> = Reason::ALL
            .into_iter()
            .filter(|&reason| stats.left[reason as usize] > 0)
            .map(Reason::help)
            .collect();
        bail!("a connection was seen but not joined: {}", why.join(", "))
    }

    /// Bytes go from one end into the other, and not over `lo`.
    pub(super) fn redirect(&self, wire: &mut Wire) -> Result<Seen> {
        const ROUNDS: usize = 200;
        let (before, lo) = (self.stats()?, lo_bytes()?);
        wire.ping_pong(ROUNDS, MESSAGE)?;
        let (after, crossed) = (self.stats()?, lo_bytes()? - lo);
        ensure!(
            crossed == 0,
            "{crossed} bytes of a joined connection crossed lo"
        );
        let sum = |stats: &Stats| stats.redirected_messages.iter().sum::<u64>();
        let counted = sum(&after) - sum(&before);
        // A socket adds its figures to the sums every 64 messages.
        ensure!(
            counted >= 2 * (ROUNDS as u64 - 64),
            "{counted} redirected messages were counted, of {}",
            2 * ROUNDS
        );
        Ok(ok(format!(
            "{} messages there and back, none over lo",
            2 * ROUNDS
        )))
    }

    /// A reader that does not read stops its sender.
    pub(super) fn stuff(&self, wire: &mut Wire) -> Result<u64> {
        let buffers = buffer_limit("tcp_rmem") + buffer_limit("tcp_wmem");
        let bound = u64::from(self.backlog_limit) + buffers + SLACK;
        let taken = wire.client.stuff(LARGE, bound)?;
        ensure!(
            taken < bound,
            "a peer that does not read was sent {} and no end was seen",
            ui::bytes(taken)
        );
        Ok(taken)
    }

    /// Once everything is read, the direction comes back from TCP.
    pub(super) fn drain(&self, wire: &mut Wire) -> Result<Seen> {
        let mut quiet = 0;
        for round in 0..DRAIN_ROUNDS {
            let lo = lo_bytes()?;
            wire.ping_pong(1, MESSAGE)?;
            quiet = if lo_bytes()? == lo { quiet + 1 } else { 0 };
            if quiet == QUIET_ROUNDS {
                let resumed = self.stats()?.resumed;
                ensure!(
                    resumed > 0,
                    "bytes no longer cross lo, but no direction was counted as back"
                );
                let text = format!(
                    "back to redirection {} messages after the last by TCP was read",
                    1 + round - quiet
                );
                return Ok((Verdict::Ok, text));
            }
        }
        let offsets = &self.report.offsets;
        ensure!(
            !offsets.sees_order() || !(offsets.sees_backlog() || offsets.counts_backlog()),
            "everything was read, but the direction did not come back from TCP in {DRAIN_ROUNDS} messages"
        );
        let text = "a direction that went to TCP stays there on this kernel".to_owned();
        Ok((Verdict::Limited, text))
    }

    /// Programs are redirected to once they are known to be fit, and those that block never are.
    pub(super) fn applications(&self) -> Result<Seen> {
        let redirected = |blocking| -> Result<u64> {
            let port = if blocking { BLOCKING_APP } else { APP };
            let listener = listen(WATCHED, port)?;
            let at = hop::direction(hop::APP, true) as usize;
            let before = self.stats()?.redirected_bytes[at];
            for _ in 0..3 {
                let to = SocketAddrV4::new(WATCHED, port);
                let mut wire = Wire::open(&listener, ENVOY, to, blocking)?;
                for _ in 0..20 {
                    wire.ping_pong(1, MESSAGE)?;
                    wire.client.finds_nothing()?;
                    if !blocking {
                        wire.server.finds_nothing()?;
                    }
                }
            }
            Ok(self.stats()?.redirected_bytes[at] - before)
        };
        ensure!(
            redirected(true)? == 0,
            "a program that blocks was taken for one that does not"
        );
        if redirected(false)? > 0 {
            return Ok(ok(
                "one that does not block is redirected to, one that blocks is not",
            ));
        }
        let text = "stay on TCP in scope auto: how they read cannot be seen".to_owned();
        Ok((Verdict::Limited, text))
    }

    /// Closed connections leave no rows behind, and what they did is counted.
    pub(super) fn close(&self, listener: &TcpListener) -> Result<Seen> {
        const LIMIT: Duration = Duration::from_secs(2);
        drop(open(listener)?);
        let start = Instant::now();
        loop {
            let left = stats::rows(self.pins, SOCKETS)? + stats::rows(self.pins, PENDING)?;
            if left == 0 {
                break;
            }
            ensure!(
                start.elapsed() < LIMIT,
                "{left} rows of closed connections are left"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        let stats = self.stats()?;
        let by_tcp = stats.tcp_messages[Reason::Backlog as usize];
        ensure!(
            by_tcp > 0,
            "no message was counted as sent by TCP for the reader's sake"
        );
        Ok((
            Verdict::Ok,
            "no row is left of closed connections".to_owned(),
        ))
    }
}

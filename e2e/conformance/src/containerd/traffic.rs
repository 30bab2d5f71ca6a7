//! "Automatic activation at pod creation": connections of a pod that has just
//! been made are accelerated, without anything else having been done.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use nix::poll::PollFlags;
use nix::unistd::{Uid, setfsuid};
use socket2::Socket;
use sockway_common::pair::hop;
use sockway_datapath::stats;
use sockway_testkit::mesh::sidecar::{INBOUND, USER};
use sockway_testkit::netns::Netns;
use sockway_testkit::{net, pattern};

use super::{Bed, Cases};

const CONNECTIONS: usize = 20;
const ROUNDS: usize = 8;
/// Connections until enough reads were seen of a program.
const WATCHED: u64 = 2;
/// Bytes of headers that a connection needs at most, whatever it carries: both handshakes, and
/// what is acknowledged.
const OVERHEAD: u64 = 4096;

pub(super) fn cases(cases: &mut Cases<'_>) {
    cases.case("traffic/first-connections", |bed| envoys(bed, &[], true));
    let off = [("sockway.io/scope", "off")];
    cases.case("traffic/scope-off", |bed| envoys(bed, &off, false));
}

/// Two pods; the test stands for their Envoys, as inbound connections between
/// Envoys look. Once its first connections have shown how a program reads, all of its bytes are
/// redirected, by our count and by that of the pods' interfaces; or none ever is.
fn envoys(bed: &Bed, annotations: &[(&str, &str)], accelerated: bool) -> Result<()> {
    let before = stats::read(&bed.node.pins())?;
    let a = bed.run(&bed.wanted("client", annotations))?;
    let b = bed.run(&bed.wanted("server", annotations))?;
    let (from, to) = (
        bed.client.borrow().sandbox(&a)?,
        bed.client.borrow().sandbox(&b)?,
    );
    let arrived = || Ok::<u64, anyhow::Error>(received(from.pid)? + received(to.pid)?);
    let mut bytes = 0;
    let mut carried = arrived()?;
    for ip in &to.ips {
        bytes += converse(from.pid, to.pid, *ip)?;
    }
    carried = arrived()? - carried;
    let after = stats::read(&bed.node.pins())?;
    let place = hop::INBOUND as usize;
    let paired = after.paired[place] - before.paired[place];
    let redirected: u64 = [true, false]
        .map(|from_active| hop::direction(hop::INBOUND, from_active) as usize)
        .map(|way| after.redirected_bytes[way] - before.redirected_bytes[way])
        .iter()
        .sum();
    let connections = (CONNECTIONS * to.ips.len()) as u64;
    let known = bytes - bytes * WATCHED / CONNECTIONS as u64;
    let right = if accelerated {
        paired == connections && (known..=bytes).contains(&redirected)
    } else {
        (paired, redirected) == (0, 0)
    };
    // With headers and acknowledgements of every connection, payload that was redirected excepted.
    let by_interfaces =
        (bytes - redirected)..(bytes - redirected) * 11 / 10 + connections * OVERHEAD;
    if !right || !by_interfaces.contains(&carried) {
        bail!(
            "{connections} connections, {bytes} bytes: {paired} found, {redirected} bytes redirected, {carried} \
             bytes by the interfaces' counters (left {:?}, by TCP {:?})",
            after.left,
            after.tcp_bytes
        );
    }
    bed.end(&a)?;
    bed.end(&b)
}

/// Bytes that came by a pod's interface.
fn received(pid: u64) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).context("read the counters")?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("eth0:"));
    let field = line.and_then(|line| line.split_whitespace().next());
    let field = field.with_context(|| format!("no eth0 in {text:?}"))?;
    field.parse().with_context(|| format!("a number, {field}"))
}

/// Connections from one pod to the other, one after the other; how many bytes were sent.
fn converse(from: u64, to: u64, ip: IpAddr) -> Result<u64> {
    let at = SocketAddr::new(ip, INBOUND);
    let listener = within(to, || net::listen(at))?;
    let mut sent = 0;
    for number in 0..CONNECTIONS {
        let client = within(from, || net::connect(None, at))?;
        let server = net::accept(&listener)?;
        for round in 0..ROUNDS {
            let seed = (number * ROUNDS + round) as u64;
            let message = pattern::bytes(seed, 1024 << round.min(4));
            pass(&client, &server, &message)?;
            pass(&server, &client, &message)?;
            sent += 2 * message.len() as u64;
        }
    }
    Ok(sent)
}

/// Sends a message and checks what arrives. Reads until there is nothing more, as Envoy does.
fn pass(mut from: &Socket, mut to: &Socket, message: &[u8]) -> Result<()> {
    let mut left = message;
    let mut arrived = Vec::with_capacity(message.len());
    let mut buffer = vec![0; 1 << 16];
    let mut empty = false;
    while arrived.len() < message.len() || !empty {
        if !left.is_empty() {
            match from.write(left) {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("send"),
            }
        }
        if arrived.len() < message.len() {
            net::wait(to, PollFlags::POLLIN)?;
        }
        match to.read(&mut buffer) {
            Ok(0) => bail!("the stream ended"),
            Ok(count) => arrived.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => empty = true,
            Err(error) => return Err(error).context("receive"),
        }
    }
    ensure!(arrived == message, "other bytes arrived than were sent");
    Ok(())
}

/// Runs in a process's network namespace, as Istio's proxy user: that is how
/// Envoy's sockets are told from an application's.
fn within<T: Send>(pid: u64, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let netns = Netns::open(Path::new(&format!("/proc/{pid}/ns/net")))?;
    netns.within(|| {
        // Of this thread only, which ends with the work.
        setfsuid(Uid::from_raw(USER));
        work()
    })
}

//! "Automatic activation at pod creation": connections of a pod that has just
//! been made are accelerated, without anything else having been done.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Uid, setfsuid};
use socket2::{Domain, Socket, Type};
use sockway_common::pair::hop;
use sockway_datapath::stats;

use super::{Bed, Cases};

/// Envoy's inbound port.
const INBOUND: u16 = 15006;
/// The user that Istio runs Envoy as.
const PROXY_USER: u32 = 1337;
const CONNECTIONS: usize = 20;
const ROUNDS: usize = 8;
/// Longer than any wait that is none.
const PATIENCE_MS: u16 = 10_000;

pub(super) fn cases(cases: &mut Cases<'_>) {
    cases.case("traffic/first-connections", |bed| envoys(bed, &[], true));
    let off = [("sockway.io/scope", "off")];
    cases.case("traffic/scope-off", |bed| envoys(bed, &off, false));
}

/// Two pods; the test stands for their Envoys, as inbound connections between
/// Envoys look. All of the bytes are redirected, or none is.
fn envoys(bed: &Bed, annotations: &[(&str, &str)], accelerated: bool) -> Result<()> {
    let before = stats::read(&bed.node.pins())?;
    let a = bed.run(&bed.wanted("client", annotations))?;
    let b = bed.run(&bed.wanted("server", annotations))?;
    let (from, to) = (
        bed.client.borrow().sandbox(&a)?,
        bed.client.borrow().sandbox(&b)?,
    );
    let mut bytes = 0;
    for ip in &to.ips {
        bytes += converse(from.pid, to.pid, *ip)?;
    }
    let after = stats::read(&bed.node.pins())?;
    let place = hop::INBOUND as usize;
    let paired = after.paired[place] - before.paired[place];
    let redirected = after.redirected_bytes[place] - before.redirected_bytes[place];
    let connections = (CONNECTIONS * to.ips.len()) as u64;
    let expected = if accelerated {
        (connections, bytes)
    } else {
        (0, 0)
    };
    if (paired, redirected) != expected {
        bail!(
            "{connections} connections, {bytes} bytes: {paired} joined, {redirected} bytes redirected \
             (left {:?}, by TCP {:?})",
            after.left,
            after.tcp_bytes
        );
    }
    bed.end(&a)?;
    bed.end(&b)
}

/// Connections from one pod to the other, one after the other; how many bytes were sent.
fn converse(from: u64, to: u64, ip: IpAddr) -> Result<u64> {
    let at = SocketAddr::new(ip, INBOUND);
    let listener = within(to, || {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&at.into())?;
        socket.listen(64)?;
        Ok(socket)
    })?;
    let mut sent = 0;
    for number in 0..CONNECTIONS {
        let mut client = within(from, || dial(at))?;
        let (mut server, _) = listener.accept().context("accept")?;
        server.set_nonblocking(true)?;
        for round in 0..ROUNDS {
            let message: Vec<u8> = (0..1024 << round.min(4))
                .map(|i| (i * 7 + i / 251 + round + number).to_le_bytes()[0])
                .collect();
            pass(&mut client, &mut server, &message)?;
            pass(&mut server, &mut client, &message)?;
            sent += 2 * message.len() as u64;
        }
    }
    Ok(sent)
}

/// As Envoy connects: without blocking.
fn dial(to: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => {
            return Err(error).with_context(|| format!("connect to {to}"));
        }
        _ => wait(&socket, PollFlags::POLLOUT)?,
    }
    match socket.take_error()? {
        Some(error) => Err(error).with_context(|| format!("connect to {to}")),
        None => Ok(socket),
    }
}

/// Sends a message and checks what arrives.
fn pass(from: &mut Socket, to: &mut Socket, message: &[u8]) -> Result<()> {
    let mut left = message;
    let mut arrived = Vec::with_capacity(message.len());
    let mut buffer = vec![0; 1 << 16];
    while arrived.len() < message.len() {
        if !left.is_empty() {
            match from.write(left) {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("send"),
            }
        }
        wait(to, PollFlags::POLLIN)?;
        match to.read(&mut buffer) {
            Ok(0) => bail!("the stream ended"),
            Ok(count) => arrived.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("receive"),
        }
    }
    if arrived != message {
        bail!("other bytes arrived than were sent");
    }
    Ok(())
}

fn wait(socket: &Socket, for_what: PollFlags) -> Result<()> {
    let mut fds = [PollFd::new(socket.as_fd(), for_what)];
    if poll(&mut fds, PollTimeout::from(PATIENCE_MS)).context("poll")? == 0 {
        bail!("hangs, waiting for {for_what:?}");
    }
    Ok(())
}

/// Runs in a process's network namespace, as Istio's proxy user: that is how
/// Envoy's sockets are told from an application's.
fn within<T: Send>(pid: u64, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let netns = File::open(format!("/proc/{pid}/ns/net")).context("open the pod's namespace")?;
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(netns, CloneFlags::CLONE_NEWNET).context("setns")?;
            // Of this thread only, which ends with the work.
            setfsuid(Uid::from_raw(PROXY_USER));
            work()
        });
        thread.join().map_err(|_| anyhow!("panic"))?
    })
}

//! A node of the test's own: network namespace, cgroup, bpffs, datapath.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use aya::maps::{Array, Map, MapData};
use aya::test_helpers::NetNsGuard;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};
use sockway_common::addr::IpKey;
use sockway_common::config::Config;
use sockway_common::counters::Stats;
use sockway_common::layout::{ENDS, LOADED, PENDING, SOCKETS};
use sockway_common::part::Part;
use sockway_common::pod::{OwnerKey, PodRow, SandboxRow};
use sockway_common::policy::fionread;
use sockway_common::program::ProgramRow;
use sockway_datapath::{Datapath, InstallOptions, InstallReport, Pins, Registry, host, stats};
use std::os::fd::AsFd as _;

use super::bpffs::Bpffs;

/// How long anything may take before it counts as a hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cgroup that this process is in for as long as the test runs.
struct Cgroup {
    root: PathBuf,
    path: PathBuf,
}

impl Cgroup {
    fn enter() -> Self {
        let root = host::find_cgroup2()
            .expect("read mounts")
            .expect("a cgroup2 hierarchy");
        let path = root.join(format!("sockway-test-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("make a cgroup");
        move_to(&path);
        Self { root, path }
    }
}

/// Makes this process one of a cgroup.
pub(crate) fn move_to(cgroup: &Path) {
    let pid = std::process::id().to_string();
    std::fs::write(cgroup.join("cgroup.procs"), pid).expect("move into the cgroup");
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        move_to(&self.root);
        let start = Instant::now();
        // A thread that has ended may be in it a moment longer (seen on 5.10).
        let removed = loop {
            let removed = std::fs::remove_dir(&self.path);
            let busy = matches!(&removed, Err(e) if e.kind() == ErrorKind::ResourceBusy);
            if !busy || start.elapsed() > PATIENCE {
                break removed;
            }
            std::thread::yield_now();
        };
        assert!(
            removed.is_ok() || std::thread::panicking(),
            "remove cgroup: {removed:?}"
        );
    }
}

/// Everything a test needs; taken down when dropped.
pub(crate) struct Node {
    pub(crate) pins: Pins,
    cgroup: Cgroup,
    _bpffs: Bpffs,
    _netns: NetNsGuard,
}

impl Node {
    /// A node with the addresses of its pods on `lo`, nothing installed.
    pub(crate) fn new(addresses: &[&str]) -> Self {
        let netns = NetNsGuard::new().expect("a network namespace");
        for address in addresses {
            let output = Command::new("ip")
                .args(["address", "add", address, "dev", "lo", "nodad"])
                .output()
                .expect("run ip");
            // iproute2 refuses `nodad` for IPv4 on no version in use here.
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let bpffs = Bpffs::mount();
        let pins = Pins::new(bpffs.path().join("sockway"));
        Self {
            pins,
            cgroup: Cgroup::enter(),
            _bpffs: bpffs,
            _netns: netns,
        }
    }

    /// With maps that are small: a test has few connections, and a guest little memory.
    pub(crate) fn options(&self) -> InstallOptions {
        InstallOptions {
            max_connections: 4096,
            ..InstallOptions::new(self.pins.clone(), self.cgroup.path.clone())
        }
    }

    pub(crate) fn install(&self) -> InstallReport {
        Datapath::install(&self.options()).unwrap_or_else(|e| panic!("install: {}", causes(&e)))
    }

    /// True where this kernel answers `FIONREAD` rightly for sockets in a sockhash, so that
    /// non-blocking ends come in when they are established; else their programs are watched first.
    #[allow(dead_code, reason = "not every test asks")]
    pub(crate) fn comes_in_at_once(&self) -> bool {
        let pinned = MapData::from_pin(self.pins.map(LOADED)).expect("what was loaded");
        let loaded: Array<_, Config> = Array::try_from(Map::Array(pinned)).expect("an array");
        loaded.get(&0, 0).expect("its row").fionread == fionread::RIGHT
    }

    /// Rows of what is known of the programs at a port.
    #[allow(dead_code, reason = "not every test asks")]
    pub(crate) fn programs(&self, kind: u32, port: u32) -> Vec<ProgramRow> {
        stats::programs(&self.pins)
            .expect("list programs")
            .into_iter()
            .filter(|(key, _)| key.kind == kind && key.port == port)
            .map(|(_, row)| row)
            .collect()
    }

    /// Registers an address as a pod of its own.
    pub(crate) fn pod(&self, ip: &str, scope: u32) {
        self.pod_of(ip, ip, scope);
    }

    /// The same for an attachment of a name.
    pub(crate) fn pod_of(&self, name: &str, ip: &str, scope: u32) {
        let ip: IpAddr = ip.parse().expect("an address");
        let owner = OwnerKey::new(name, "eth0");
        let row = PodRow {
            owner,
            outbound_port: 15001,
            inbound_port: 15006,
            scope,
        };
        let mut sandbox = SandboxRow {
            ip_count: 1,
            part: Part::of(scope).word(),
            ..SandboxRow::default()
        };
        sandbox.ips[0] = IpKey::from(ip);
        Registry::open(&self.pins)
            .and_then(|mut registry| registry.register(owner, &sandbox, &row))
            .unwrap_or_else(|e| panic!("register: {}", causes(&e)));
    }

    pub(crate) fn stats(&self) -> Stats {
        stats::read(&self.pins).expect("read stats")
    }

    /// Rows that belong to connections: sockets in the sockhash, handshakes, ends.
    pub(crate) fn connection_rows(&self) -> [usize; 3] {
        [SOCKETS, PENDING, ENDS].map(|name| stats::rows(&self.pins, name).expect("count rows"))
    }
}

pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// A listening socket; `[::]` takes IPv4 as v4-mapped.
pub(crate) fn listen(at: &str) -> Socket {
    let at: SocketAddr = at.parse().expect("an address and port");
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).expect("socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    socket.bind(&at.into()).expect("bind");
    socket.listen(1024).expect("listen");
    socket
}

/// A non-blocking connection from `from` to `to`, established on both ends.
pub(crate) fn connect(listener: &Socket, from: &str, to: &str) -> (Socket, Socket) {
    let client = dial(from, to);
    let (server, _) = listener.accept().expect("accept");
    server.set_nonblocking(true).expect("O_NONBLOCK");
    (client, server)
}

/// A connecting end that blocks.
#[allow(dead_code, reason = "not every test has one")]
pub(crate) fn dial_blocking(from: &str, to: &str) -> Socket {
    let (socket, to) = bound(from, to);
    socket.connect(&to.into()).expect("connect");
    socket
}

/// A socket at one address, and the other.
fn bound(from: &str, to: &str) -> (Socket, SocketAddr) {
    let to: SocketAddr = to.parse().expect("an address and port");
    let from: IpAddr = from.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("socket");
    socket.bind(&SocketAddr::new(from, 0).into()).expect("bind");
    (socket, to)
}

/// The connecting end only.
pub(crate) fn dial(from: &str, to: &str) -> Socket {
    let (socket, to) = bound(from, to);
    socket.set_nonblocking(true).expect("O_NONBLOCK");
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
        Err(e) => panic!("connect: {e}"),
    }
    wait(&socket, PollFlags::POLLOUT);
    assert!(
        socket.take_error().expect("SO_ERROR").is_none(),
        "connect failed"
    );
    socket
}

fn wait(socket: &Socket, for_what: PollFlags) {
    let mut fds = [PollFd::new(socket.as_fd(), for_what)];
    let timeout = PollTimeout::try_from(PATIENCE).expect("fits");
    assert_ne!(
        poll(&mut fds, timeout).expect("poll"),
        0,
        "hang: waited for {for_what:?}"
    );
}

/// Sends all of it.
pub(crate) fn send(mut socket: &Socket, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => wait(socket, PollFlags::POLLOUT),
            Err(e) => panic!("send: {e}"),
        }
    }
}

/// Receives exactly `count` bytes, or fewer where the stream ends.
pub(crate) fn receive(mut socket: &Socket, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let (mut at, start) = (0, Instant::now());
    while at < count {
        assert!(
            start.elapsed() < PATIENCE,
            "hang: {at} of {count} bytes received"
        );
        match socket.read(&mut bytes[at..]) {
            Ok(0) => break,
            Ok(n) => at += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => wait(socket, PollFlags::POLLIN),
            Err(e) => panic!("receive: {e}"),
        }
    }
    bytes.truncate(at);
    bytes
}

/// The same, and reads on until there is nothing more, as programs do that are proven everywhere.
#[allow(dead_code, reason = "not every test reads like this")]
pub(crate) fn receive_all(socket: &Socket, count: usize) -> Vec<u8> {
    let bytes = receive(socket, count);
    if bytes.len() == count {
        let more = { socket }.read(&mut [0; 1]);
        let kind = more.expect_err("nothing more").kind();
        assert_eq!(kind, io::ErrorKind::WouldBlock);
    }
    bytes
}

/// A message of `size` bytes that no other `number` has.
pub(crate) fn message(number: usize, size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| u8::try_from((number * 31 + i * 7 + i / 251) % 256).expect("< 256"))
        .collect()
}

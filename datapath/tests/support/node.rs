//! A node of the test's own: network namespace, cgroup, bpffs, datapath.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData};
use aya::test_helpers::NetNsGuard;
use socket2::Socket;
use sockway_common::config::Config;
use sockway_common::counters::Stats;
use sockway_common::layout::{ENDS, LOADED, PENDING, SOCKETS};
use sockway_common::policy::fionread;
use sockway_common::program::ProgramRow;
use sockway_datapath::{Datapath, InstallOptions, InstallReport, Pins, Registry, host, stats};
use sockway_testkit::bpffs::Bpffs;
use sockway_testkit::command::ip;
use sockway_testkit::{cgroup, net, pattern, rows};

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
    cgroup::enter(cgroup).expect("move into the cgroup");
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        move_to(&self.root);
        let removed = cgroup::remove(&self.path);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
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
            // iproute2 refuses `nodad` for IPv4 on no version in use here.
            ip(&format!("address add {address} dev lo nodad")).expect("ip");
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
        let ip = ip.parse().expect("an address");
        let mut registry = Registry::open(&self.pins).expect("open the registry");
        rows::register(&mut registry, name, &[ip], scope).expect("register");
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
    let listener = net::listen(at.parse().expect("an address and port")).expect("listen");
    listener.set_nonblocking(false).expect("blocking");
    listener
}

/// A non-blocking connection from `from` to `to`, established on both ends.
pub(crate) fn connect(listener: &Socket, from: &str, to: &str) -> (Socket, Socket) {
    let client = dial(from, to);
    (client, net::accept(listener).expect("accept"))
}

/// The connecting end only.
pub(crate) fn dial(from: &str, to: &str) -> Socket {
    let (from, to) = way(from, to);
    net::connect(Some(from), to).expect("connect")
}

/// A connecting end that blocks.
#[allow(dead_code, reason = "not every test has one")]
pub(crate) fn dial_blocking(from: &str, to: &str) -> Socket {
    let (from, to) = way(from, to);
    let socket = net::socket(Some(from), to).expect("socket");
    socket.set_nonblocking(false).expect("blocking");
    socket.connect(&to.into()).expect("connect");
    socket
}

fn way(from: &str, to: &str) -> (SocketAddr, SocketAddr) {
    let from: IpAddr = from.parse().expect("an address");
    let to = to.parse().expect("an address and port");
    (SocketAddr::new(from, 0), to)
}

/// Sends all of it.
pub(crate) fn send(socket: &Socket, bytes: &[u8]) {
    net::send(socket, bytes).expect("send");
}

/// Receives exactly `count` bytes, or fewer where the stream ends.
pub(crate) fn receive(socket: &Socket, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let got = net::receive_up_to(socket, &mut bytes).expect("receive");
    bytes.truncate(got);
    bytes
}

/// The same, and reads on until there is nothing more, as programs do that are proven everywhere.
#[allow(dead_code, reason = "not every test reads like this")]
pub(crate) fn receive_all(socket: &Socket, count: usize) -> Vec<u8> {
    let bytes = receive(socket, count);
    if bytes.len() == count {
        let more = { socket }.read(&mut [0; 1]);
        let kind = more.expect_err("nothing more").kind();
        assert_eq!(kind, ErrorKind::WouldBlock);
    }
    bytes
}

/// A message of `size` bytes that no other `number` has.
pub(crate) fn message(number: usize, size: usize) -> Vec<u8> {
    pattern::bytes(number as u64, size)
}

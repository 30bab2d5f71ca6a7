//! A connection of the pod that checks every byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

use super::node::{POD, in_pod};

const LIMIT: Duration = Duration::from_secs(10);

/// An application of the pod that reads from an edge-triggered epoll set, asked so many times.
pub(crate) fn edge_triggered(rounds: u32) {
    in_pod(|| read_edge_triggered(rounds));
}

fn read_edge_triggered(rounds: u32) {
    let listener = TcpListener::bind((POD, 8080)).unwrap();
    let envoy = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    bind(envoy.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 6, 0)).unwrap();
    let SocketAddr::V4(to) = listener.local_addr().unwrap() else {
        panic!("the pod has an IPv4 address");
    };
    connect(envoy.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
    let mut envoy = TcpStream::from(envoy);
    let (mut app, _) = listener.accept().unwrap();
    app.set_nonblocking(true).unwrap();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    epoll.add(&app, EpollEvent::new(events, 0)).unwrap();
    for round in 0..rounds {
        envoy.write_all(b"to the pod").unwrap();
        let mut event = [EpollEvent::empty()];
        let timeout = EpollTimeout::from(10_000_u16);
        assert_eq!(epoll.wait(&mut event, timeout), Ok(1), "round {round}");
        app.read_exact(&mut [0; 10]).unwrap();
    }
}

/// Both ends of a connection to the pod's inbound Envoy port.
pub(crate) struct Connection {
    client: TcpStream,
    server: TcpStream,
    round: u64,
}

impl Connection {
    pub(crate) fn open() -> Self {
        let (client, server) = in_pod(|| {
            let listener = TcpListener::bind((POD, 15006)).unwrap();
            let client = TcpStream::connect((POD, 15006)).unwrap();
            (client, listener.accept().unwrap().0)
        });
        for end in [&client, &server] {
            end.set_read_timeout(Some(LIMIT)).unwrap();
            end.set_write_timeout(Some(LIMIT)).unwrap();
        }
        Self {
            client,
            server,
            round: 0,
        }
    }

    /// Some bytes there and back, every one checked.
    pub(crate) fn echo(&mut self) {
        self.round += 1;
        let sent: Vec<u8> = (0..1024_u64)
            .map(|at| (at * 31 + self.round * 7).to_le_bytes()[0])
            .collect();
        let mut got = vec![0; sent.len()];
        self.client.write_all(&sent).unwrap();
        self.server.read_exact(&mut got).unwrap();
        assert_eq!(got, sent, "round {}, there", self.round);
        self.server.write_all(&got).unwrap();
        self.client.read_exact(&mut got).unwrap();
        assert_eq!(got, sent, "round {}, back", self.round);
    }
}

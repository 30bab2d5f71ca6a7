//! A connection of the pod that checks every byte.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::node::POD;

const LIMIT: Duration = Duration::from_secs(10);

/// Both ends of a connection to the pod's inbound Envoy port.
pub(crate) struct Connection {
    client: TcpStream,
    server: TcpStream,
    round: u64,
}

impl Connection {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind((POD, 15006)).unwrap();
        let client = TcpStream::connect((POD, 15006)).unwrap();
        let (server, _) = listener.accept().unwrap();
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

    /// Changes how both ends wait.
    pub(crate) fn set_nonblocking(&self, on: bool) {
        for end in [&self.client, &self.server] {
            end.set_nonblocking(on).unwrap();
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

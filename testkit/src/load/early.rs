//! What a client notices at its start: answers over time, and when the first byte went by
//! redirection, by what TCP itself says it has carried.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::carried::carried;

/// Between two looks at a connection that nothing was redirected on.
const EVERY: Duration = Duration::from_millis(1);
const BINS: usize = 4096;

/// Answers over time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Series {
    /// When the first connection was asked for, milliseconds of the Unix epoch.
    pub started: u64,
    /// Milliseconds of each bin.
    pub bin: u64,
    /// Answers in each.
    pub answers: Vec<u64>,
}

impl Series {
    /// From now on; `bin`: milliseconds.
    pub fn new(bin: u64) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let started = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
        Self {
            started,
            bin,
            answers: Vec::new(),
        }
    }

    /// An answer so long after the start.
    pub fn note(&mut self, after: Duration) {
        let bin = after.as_millis() / u128::from(self.bin.max(1));
        let bin = usize::try_from(bin).unwrap_or(BINS).min(BINS);
        if self.answers.len() <= bin {
            self.answers.resize(bin + 1, 0);
        }
        self.answers[bin] += 1;
    }
}

/// Times from connect to the first redirected byte, microseconds, one for each connection
/// on which there was one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct First {
    /// Connections that were looked at.
    pub connections: u64,
    /// Of those that sent one.
    pub sent: Vec<u64>,
    /// Of those that received one.
    pub received: Vec<u64>,
}

/// One connection until it has both sent and received by redirection.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    since: Instant,
    looked: Instant,
    pub(super) sent: Option<Duration>,
    pub(super) received: Option<Duration>,
}

impl Watch {
    /// Of a connection that is asked for now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            since: now,
            looked: now,
            sent: None,
            received: None,
        }
    }

    /// Looks, after an answer, when all that was sent has arrived: `sent` and `received` bytes
    /// so far, as the application counts them.
    pub(super) fn look(&mut self, socket: &impl AsRawFd, sent: u64, received: u64) {
        let wanted = self.sent.is_none() || self.received.is_none();
        if !wanted || self.looked.elapsed() < EVERY {
            return;
        }
        self.looked = Instant::now();
        let Some((by_tcp_received, by_tcp_sent)) = carried(socket) else {
            return;
        };
        let after = self.since.elapsed();
        if self.sent.is_none() && by_tcp_sent < sent {
            self.sent = Some(after);
        }
        if self.received.is_none() && by_tcp_received < received {
            self.received = Some(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::{Series, Watch};
    use crate::carried::carried;

    #[test]
    fn plain_tcp_carries_everything() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(address).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        client.write_all(&[1; 100]).expect("send");
        server.read_exact(&mut [0; 100]).expect("receive");
        server.write_all(&[1; 70]).expect("send");
        client.read_exact(&mut [0; 70]).expect("receive");
        assert_eq!(carried(&client), Some((70, 100)));
        let mut watch = Watch::new();
        std::thread::sleep(Duration::from_millis(2));
        watch.look(&client, 100, 70);
        assert!(watch.sent.is_none() && watch.received.is_none());
        std::thread::sleep(Duration::from_millis(2));
        // Ten bytes more came than TCP knows of.
        watch.look(&client, 100, 80);
        assert!(watch.sent.is_none() && watch.received.is_some());
    }

    #[test]
    fn answers_fall_into_bins() {
        let mut series = Series::new(100);
        for after in [0, 99, 100, 350] {
            series.note(Duration::from_millis(after));
        }
        assert_eq!(series.answers, [2, 1, 0, 1]);
    }
}

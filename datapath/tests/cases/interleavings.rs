//! Many connections at a time in the running kernel, their events in any order: every byte
//! comes at its own connection's other end, in order, once; nothing is left behind.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use proptest::prelude::{Strategy, prop};
use proptest::prop_oneof;
use proptest::test_runner::{Config, TestRunner};
use socket2::Socket;
use sockway_common::flow::MAX_BACKOFF;
use sockway_common::scope;
use sockway_testkit::needs;
use sockway_testkit::ring::privileged;

use crate::support::measure::until;
use crate::support::node::{Node, dial, listen};

const AT: &str = "10.9.0.1:15006";
/// Connections at a time: few, so that events meet.
const CONNECTIONS: usize = 4;
/// Runs, and events in one.
const RUNS: u32 = 40;
const EVENTS: usize = 600;
/// Larger than the credit of a reader at its first look.
const LARGEST: usize = 96 * 1024;

/// What happens; the numbers name a connection and one of its ends.
#[derive(Clone, Copy, Debug)]
enum Event {
    Dial(usize),
    Accept,
    Send(usize, usize, usize),
    Read(usize, usize, usize),
    Finish(usize, usize),
    Close(usize, usize),
}

fn event() -> impl Strategy<Value = Event> {
    let which = || 0..CONNECTIONS;
    let end = || 0..2usize;
    let size = || prop_oneof![3 => 1..2000usize, 1 => 1..LARGEST];
    prop_oneof![
        3 => which().prop_map(Event::Dial),
        3 => prop::strategy::Just(Event::Accept),
        40 => (which(), end(), size()).prop_map(|(c, e, s)| Event::Send(c, e, s)),
        40 => (which(), end(), size()).prop_map(|(c, e, s)| Event::Read(c, e, s)),
        1 => (which(), end()).prop_map(|(c, e)| Event::Finish(c, e)),
        1 => (which(), end()).prop_map(|(c, e)| Event::Close(c, e)),
    ]
}

/// The byte at a place of a stream: different for every stream.
fn byte(stream: usize, at: usize) -> u8 {
    let mixed = (stream * 7919 + at).wrapping_mul(2_654_435_761) >> 13;
    mixed.to_le_bytes()[0]
}

/// One end of a connection.
#[derive(Default)]
struct End {
    socket: Option<Socket>,
    sent: usize,
    read: usize,
    finished: bool,
    /// It was closed; `true`: with bytes that it had not read, so a reset may follow.
    closed: Option<bool>,
}

/// One connection: the ends that connected and accepted.
#[derive(Default)]
struct Connection {
    number: usize,
    ends: [End; 2],
}

impl Connection {
    /// The other end may see a reset, and lose what was on its way.
    fn may_reset(&self) -> bool {
        self.ends.iter().any(|end| end.closed == Some(true))
    }

    fn send(&mut self, end: usize, size: usize) {
        let stream = self.number * 2 + end;
        let reset = self.ends[1 - end].closed.is_some();
        let this = &mut self.ends[end];
        let Some(socket) = this.socket.as_mut().filter(|_| !this.finished) else {
            return;
        };
        let bytes: Vec<u8> = (0..size).map(|i| byte(stream, this.sent + i)).collect();
        match socket.write(&bytes) {
            Ok(taken) => this.sent += taken,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => assert!(reset, "connection {}: send: {e}", self.number),
        }
    }

    /// What a read gave; `None` where nothing waits.
    fn read(&mut self, end: usize, size: usize) -> Option<usize> {
        let (number, may_reset) = (self.number, self.may_reset());
        let [sent, finished] = {
            let other = &self.ends[1 - end];
            let over = other.finished || other.closed.is_some();
            [other.sent, usize::from(over)]
        };
        let stream = number * 2 + 1 - end;
        let this = &mut self.ends[end];
        let socket = this.socket.as_mut()?;
        let mut buffer = vec![0; size];
        match socket.read(&mut buffer) {
            Ok(0) => {
                assert_eq!(finished, 1, "connection {number}: an end that nobody made");
                assert!(
                    this.read == sent || may_reset,
                    "connection {number}: it ended after {} of {sent} bytes",
                    this.read
                );
                None
            }
            Ok(got) => {
                for (i, seen) in buffer[..got].iter().enumerate() {
                    let at = this.read + i;
                    assert!(at < sent, "connection {number}: more than was sent");
                    assert_eq!(*seen, byte(stream, at), "connection {number}: byte {at}");
                }
                this.read += got;
                Some(got)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => None,
            Err(e) => {
                assert!(may_reset, "connection {number}: read: {e}");
                None
            }
        }
    }

    fn finish(&mut self, end: usize) {
        let reset = self.may_reset();
        let this = &mut self.ends[end];
        if let Some(socket) = this.socket.as_ref().filter(|_| !this.finished) {
            let done = socket.shutdown(Shutdown::Write);
            assert!(done.is_ok() || reset, "shutdown: {done:?}");
            this.finished = true;
        }
    }

    fn close(&mut self, end: usize) {
        let unread = self.ends[1 - end].sent != self.ends[end].read;
        // Bytes that come later meet a socket that is gone.
        let later = !self.ends[1 - end].finished && self.ends[1 - end].closed.is_none();
        let this = &mut self.ends[end];
        if this.socket.take().is_some() {
            this.closed = Some(unread || later);
        }
    }

    /// Both ends read until all has come.
    fn drain(&mut self) {
        for end in 0..2 {
            if self.ends[end].socket.is_none() {
                continue;
            }
            let number = self.number;
            until(&format!("connection {number} drains"), || {
                while self.read(end, LARGEST).is_some() {}
                self.ends[end].read == self.ends[1 - end].sent || self.may_reset()
            });
        }
    }

    /// Small messages that are read at once, until a direction on TCP must have come back.
    fn go_on(&mut self) {
        for end in 0..2 {
            let open = self.ends.iter().all(|end| end.socket.is_some());
            if !open || self.ends[end].finished {
                continue;
            }
            for _ in 0..MAX_BACKOFF + 2 {
                self.send(end, 100);
                self.drain();
            }
        }
    }
}

/// All of one run.
struct Run {
    listener: Socket,
    open: Vec<Connection>,
    /// Connections by their client's port, until they are accepted.
    waiting: HashMap<u16, usize>,
    made: usize,
}

fn port(address: io::Result<socket2::SockAddr>) -> u16 {
    let address = address.expect("an address").as_socket();
    address.expect("IPv4").port()
}

impl Run {
    fn new() -> Self {
        let listener = listen(AT);
        listener.set_nonblocking(true).expect("O_NONBLOCK");
        Self {
            listener,
            open: (0..CONNECTIONS).map(|_| Connection::default()).collect(),
            waiting: HashMap::new(),
            made: 0,
        }
    }

    fn dial(&mut self, which: usize) {
        let slot = &mut self.open[which];
        if slot.ends.iter().any(|end| end.socket.is_some())
            || self.waiting.values().any(|&waits| waits == which)
        {
            return;
        }
        let client = dial("10.9.0.2", AT);
        self.waiting.insert(port(client.local_addr()), which);
        *slot = Connection {
            number: self.made,
            ..Connection::default()
        };
        slot.ends[0].socket = Some(client);
        self.made += 1;
    }

    fn accept(&mut self) -> bool {
        let Ok((server, from)) = self.listener.accept() else {
            return false;
        };
        server.set_nonblocking(true).expect("O_NONBLOCK");
        let which = self.waiting.remove(&port(Ok(from))).expect("its client");
        self.open[which].ends[1].socket = Some(server);
        true
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Dial(which) => self.dial(which),
            Event::Accept => {
                self.accept();
            }
            Event::Send(which, end, size) => self.open[which].send(end, size),
            Event::Read(which, end, size) => {
                self.open[which].read(end, size);
            }
            Event::Finish(which, end) => self.open[which].finish(end),
            Event::Close(which, end) => self.open[which].close(end),
        }
    }

    fn end(mut self) {
        while self.accept() {}
        self.open.iter_mut().for_each(Connection::drain);
        self.open.iter_mut().for_each(Connection::go_on);
    }
}

#[test]
fn events_in_any_order() {
    needs!(privileged("events_in_any_order"));
    let node = Node::new(&["10.9.0.1/32", "10.9.0.2/32"]);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let mut runner = TestRunner::new(Config {
        cases: RUNS,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    });
    let events = prop::collection::vec(event(), EVENTS);
    let result = runner.run(&events, |events| {
        let mut run = Run::new();
        for event in events {
            run.event(event);
        }
        run.end();
        until("no rows left", || node.connection_rows() == [0; 3]);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    let stats = node.stats();
    let redirected: u64 = stats.redirected_messages.iter().sum();
    let by_tcp: u64 = stats.tcp_messages.iter().sum();
    println!(
        "{redirected} messages redirected, {by_tcp} by TCP, {} came back, {} connections joined",
        stats.resumed,
        stats.paired.iter().sum::<u64>()
    );
    assert!(redirected > 0 && by_tcp > 0 && stats.resumed > 0);
}

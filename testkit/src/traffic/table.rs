//! The open connections of a non-blocking process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mio::net::TcpStream;
use mio::{Interest, Poll, Token};

use super::end::{Buffers, End};
use super::fault::Fault;
use super::report::Report;

/// How often connections are searched for hangs.
const SCAN_EVERY: Duration = Duration::from_secs(1);

/// One open connection.
pub(crate) struct Entry {
    stream: TcpStream,
    end: End,
    label: String,
    moved: Instant,
}

impl Entry {
    /// A connection just made; `label` tells in messages which one it is.
    pub(crate) fn new(stream: TcpStream, end: End, label: String) -> Self {
        Self {
            stream,
            end,
            label,
            moved: Instant::now(),
        }
    }

    fn describe(&self, fault: &Fault) -> String {
        let Self {
            stream,
            end,
            label,
            moved: _,
        } = self;
        let address = |result: std::io::Result<std::net::SocketAddr>| {
            result.map_or_else(|_| "?".to_owned(), |address| address.to_string())
        };
        let (local, peer) = (address(stream.local_addr()), address(stream.peer_addr()));
        let plan = end
            .plan()
            .map_or_else(|| "no plan yet".to_owned(), |plan| format!("{plan:?}"));
        format!(
            "{label}, {local} to {peer}: {fault}; {}; {plan}",
            end.position()
        )
    }
}

/// Open connections by token.
pub(crate) struct Table {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    first: usize,
    stall: Duration,
    scanned: Instant,
}

impl Table {
    /// Empty; tokens start at `first`. `stall`: how long nothing may move.
    pub(crate) fn new(first: usize, stall: Duration) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            first,
            stall,
            scanned: Instant::now(),
        }
    }

    /// How many are open.
    pub(crate) const fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// True where none is open.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a connection in and listens for its events.
    pub(crate) fn add(&mut self, mut entry: Entry, poll: &Poll) -> Result<Token> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        let token = Token(self.first + index);
        poll.registry()
            .register(
                &mut entry.stream,
                token,
                Interest::READABLE | Interest::WRITABLE,
            )
            .context("epoll_ctl")?;
        self.entries[index] = Some(entry);
        Ok(token)
    }

    /// Moves a connection on after an event; takes it out where it is over.
    pub(crate) fn drive(
        &mut self,
        token: Token,
        writable: bool,
        poll: &Poll,
        report: &mut Report,
        buffers: &mut Buffers,
    ) {
        let index = token.0.wrapping_sub(self.first);
        // An event of a connection that an earlier event of the same round ended.
        let Some(entry) = self.entries.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        if writable {
            entry.end.writable();
        }
        entry.moved = Instant::now();
        match entry.end.pump(&mut entry.stream, buffers) {
            Ok(false) => {}
            Ok(true) => {
                if let Some(plan) = entry.end.plan() {
                    report.verified(plan, entry.end.moved());
                }
                self.remove(index, poll);
            }
            Err(fault) => self.fail(index, &fault, poll, report),
        }
    }

    /// Takes out connections that moved nothing for too long.
    pub(crate) fn scan(&mut self, poll: &Poll, report: &mut Report) {
        if self.scanned.elapsed() < SCAN_EVERY {
            return;
        }
        self.scanned = Instant::now();
        for index in 0..self.entries.len() {
            let stalled = self.entries[index]
                .as_ref()
                .is_some_and(|e| e.moved.elapsed() > self.stall);
            if stalled {
                report.hangs += 1;
                self.fail(index, &Fault::Hang(self.stall.as_secs()), poll, report);
            }
        }
    }

    fn fail(&mut self, index: usize, fault: &Fault, poll: &Poll, report: &mut Report) {
        if let Some(entry) = &self.entries[index] {
            report.fault(fault.kind(), || entry.describe(fault));
        }
        self.remove(index, poll);
    }

    fn remove(&mut self, index: usize, poll: &Poll) {
        if let Some(mut entry) = self.entries[index].take() {
            // The socket is closed in any case, which ends its events.
            drop(poll.registry().deregister(&mut entry.stream));
            self.free.push(index);
        }
    }
}

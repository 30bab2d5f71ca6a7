//! The accepting side on non-blocking sockets.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use mio::net::TcpStream;
use mio::{Events, Poll, Token};

use super::dial;
use super::end::{Buffers, End};
use super::options::{Listen, Server};
use super::report::Report;
use super::table::{Entry, Table};
use crate::net::told;
use crate::stop;

/// How long a wait for events lasts at most.
const TICK: Duration = Duration::from_millis(100);

/// Serves until SIGTERM, then gives open connections as long as a stall to end.
pub(crate) fn run(options: &Server, ready: impl FnOnce()) -> Result<Report> {
    let mut poll = Poll::new().context("epoll_create")?;
    let listeners = dial::listen_all(&options.listen, &poll)?;
    ready();

    let mut server = Running {
        table: Table::new(listeners.len(), Duration::from_secs(options.stall)),
        report: Report::new("server"),
        buffers: Buffers::default(),
        rng: Rng::new(),
    };
    let started = Instant::now();
    let mut events = Events::with_capacity(1024);
    let mut stopping: Option<Instant> = None;
    loop {
        told(&mut poll, &mut events, TICK)?;
        for event in &events {
            match listeners.get(event.token().0) {
                Some((listener, listen)) => server.accept(listener, listen, &poll)?,
                None => server.serve(event.token(), event.is_writable(), &poll),
            }
        }
        server.table.scan(&poll, &mut server.report);
        if stop::requested() {
            let since = *stopping.get_or_insert_with(Instant::now);
            let grace = Duration::from_secs(options.stall) + TICK;
            if server.table.is_empty() || since.elapsed() > grace {
                break;
            }
        }
    }
    server.report.took(started.elapsed());
    Ok(server.report)
}

struct Running {
    table: Table,
    report: Report,
    buffers: Buffers,
    rng: Rng,
}

impl Running {
    fn accept(&mut self, listener: &TcpListener, listen: &Listen, poll: &Poll) -> Result<()> {
        while let Some(stream) = dial::accept(listener)? {
            stream.set_nonblocking(true).context("set O_NONBLOCK")?;
            self.report.connections += 1;
            let said = listen.greet.then(|| self.rng.u64(1..));
            let (end, label) = (End::server(said), format!("at {}", listen.address));
            let entry = Entry::new(TcpStream::from_std(stream), end, label);
            let token = self.table.add(entry, poll)?;
            self.serve(token, true, poll);
        }
        Ok(())
    }

    fn serve(&mut self, token: Token, writable: bool, poll: &Poll) {
        self.table
            .drive(token, writable, poll, &mut self.report, &mut self.buffers);
    }
}

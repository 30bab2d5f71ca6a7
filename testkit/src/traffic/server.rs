//! The accepting side on non-blocking sockets.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::dial;
use super::end::{Buffers, End};
use super::options::{Listen, Server};
use super::report::Report;
use super::table::{Entry, Table};
use crate::stop;

/// How long a wait for events lasts at most.
const TICK: Duration = Duration::from_millis(100);

/// Serves until SIGTERM, then gives open connections as long as a stall to end.
pub(crate) fn run(options: &Server, ready: impl FnOnce()) -> Result<Report> {
    let mut poll = Poll::new().context("epoll_create")?;
    let mut listeners = Vec::new();
    for (token, listen) in options.listen.iter().enumerate() {
        let mut listener = TcpListener::from_std(dial::listen(listen, true)?);
        poll.registry()
            .register(&mut listener, Token(token), Interest::READABLE)?;
        listeners.push((listener, listen.clone()));
    }
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
        match poll.poll(&mut events, Some(TICK)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(error).context("epoll_wait");
            }
            _ => {}
        }
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
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Reset before it was accepted: nothing was promised on it yet.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error).context("accept"),
            };
            self.report.connections += 1;
            let said = listen.greet.then(|| self.rng.u64(1..));
            let label = format!("at {}", listen.address);
            let token = self.add(stream, End::server(said), label, poll)?;
            self.serve(token, true, poll);
        }
    }

    fn add(&mut self, stream: TcpStream, end: End, label: String, poll: &Poll) -> Result<Token> {
        self.table.add(Entry::new(stream, end, label), poll)
    }

    fn serve(&mut self, token: Token, writable: bool, poll: &Poll) {
        self.table
            .drive(token, writable, poll, &mut self.report, &mut self.buffers);
    }
}

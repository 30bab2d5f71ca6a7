//! Echo servers: non-blocking, `recv` and `send`, nothing else.

use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::codec;
use super::options::{Protocol, Server};
use crate::net::told;
use crate::{net, stop};

const READ_SIZE: usize = 64 * 1024;
/// No more is read from a connection while so many bytes wait to be sent to it.
const MAX_PENDING: usize = 1 << 20;
const TICK: Duration = Duration::from_millis(100);
const LISTENER: Token = Token(usize::MAX - 1);

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// Echoes until SIGTERM.
pub(crate) fn run(options: &Server, ready: impl FnOnce()) -> Result<()> {
    let mut listener = TcpListener::from_std(net::listen(options.listen)?.into());
    let mut poll = Poll::new().context("epoll_create")?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    ready();

    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_SIZE];
    while !stop::requested() {
        told(&mut poll, &mut events, TICK)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true).context("setsockopt TCP_NODELAY")?;
                    let index = free.pop().unwrap_or_else(|| {
                        connections.push(None);
                        connections.len() - 1
                    });
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry()
                        .register(&mut stream, Token(index), interest)?;
                    connections[index] = Some(Connection {
                        stream,
                        input: Vec::new(),
                        output: Vec::new(),
                    });
                }
                continue;
            }
            let index = event.token().0;
            let Some(connection) = connections.get_mut(index).and_then(Option::as_mut) else {
                continue;
            };
            // A client that sends nonsense or resets is not served any longer; its side reports it.
            if !connection
                .serve(options.protocol, &mut buffer)
                .unwrap_or(false)
            {
                connections[index] = None;
                free.push(index);
            }
        }
    }
    Ok(())
}

impl Connection {
    /// Reads, answers, writes as far as it goes; false at the end of the stream.
    fn serve(&mut self, protocol: Protocol, buffer: &mut [u8]) -> Result<bool> {
        loop {
            if !self.flush()? {
                return Ok(true);
            }
            match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(n) => {
                    self.input.extend_from_slice(&buffer[..n]);
                    codec::answer(protocol, &mut self.input, &mut self.output)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// False where too much waits to be sent.
    fn flush(&mut self) -> Result<bool> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(n) => drop(self.output.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(self.output.len() < MAX_PENDING);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

//! The end that reads slowly, or not at all.

use std::io::{ErrorKind, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::options::Server;
use super::wait_readable;
use crate::pattern::{Direction, Pattern};
use crate::{net, stop};

/// Between two reads of a connection that is read slowly, and two looks for new ones.
const TICK: Duration = Duration::from_millis(5);

/// What became of one connection.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The sender's end came after this many bytes, all of them right.
    Ended(u64),
    Wrong(String),
}

struct Connection {
    stream: TcpStream,
    wanted: Pattern,
    scratch: Vec<u8>,
    since: Instant,
    read: u64,
    state: State,
}

/// Serves until SIGTERM; a line for each connection that was read to its end.
pub(crate) fn run(options: &Server, ready: impl FnOnce()) -> Result<()> {
    let Server {
        listen,
        prove,
        rate,
    } = options;
    let listener = net::listen(*listen)?.into();
    ready();
    if *prove {
        echo(&listener, |stream| {
            let stream = stream.try_clone().context("dup")?;
            Ok(move || wait_readable(&stream))
        })?;
    }
    let mut connections: Vec<Connection> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while !stop::requested() {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).context("set O_NONBLOCK")?;
            connections.push(Connection {
                stream,
                wanted: Pattern::new(0, Direction::Up),
                scratch: Vec::new(),
                since: Instant::now(),
                read: 0,
                state: State::Open,
            });
        }
        if *rate > 0 {
            for connection in &mut connections {
                connection.read(*rate, &mut buffer);
                match &connection.state {
                    State::Open => {}
                    State::Ended(bytes) => println!("ended {bytes}"),
                    State::Wrong(what) => println!("wrong {what}"),
                }
            }
            connections.retain(|connection| connection.state == State::Open);
        }
        thread::sleep(TICK);
    }
    Ok(())
}

/// Serves one connection to its end: reads until there is nothing more, and sends that back.
/// `waiting`: how it waits for a stream's bytes.
pub(super) fn echo<W: FnMut() -> Result<()>>(
    listener: &TcpListener,
    waiting: impl FnOnce(&TcpStream) -> Result<W>,
) -> Result<()> {
    let mut stream = loop {
        stop::check()?;
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(TICK),
            Err(error) => return Err(error).context("accept"),
        }
    };
    stream.set_nonblocking(true).context("set O_NONBLOCK")?;
    let mut wait = waiting(&stream)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        stop::check()?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => stream.write_all(&buffer[..count]).context("send")?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait()?,
            Err(error) => return Err(error).context("recv"),
        }
    }
}

impl Connection {
    /// Reads as much as the rate allows by now.
    fn read(&mut self, rate: u32, buffer: &mut [u8]) {
        let allowed = self.since.elapsed().as_millis() * u128::from(rate) / 1000;
        let allowed = u64::try_from(allowed).unwrap_or(u64::MAX);
        while self.read < allowed {
            let left = usize::try_from(allowed - self.read).unwrap_or(usize::MAX);
            let most = left.min(buffer.len());
            match self.stream.read(&mut buffer[..most]) {
                Ok(0) => self.state = State::Ended(self.read),
                Ok(count) => {
                    if let Err(mismatch) = self.wanted.check(&buffer[..count], &mut self.scratch) {
                        self.state = State::Wrong(mismatch.to_string());
                    }
                    self.read += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => self.state = State::Wrong(error.to_string()),
            }
            if self.state != State::Open {
                return;
            }
            if self.read < allowed {
                // Nothing there now.
                return;
            }
        }
    }
}

//! The end that sends: until nothing more is taken, or a number of bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::options::Client;
use super::report::Report;
use super::wait_readable;
use crate::pattern::{Direction, Pattern};
use crate::{net, stop};

/// After so long without one byte taken on any connection all of them are blocked.
const BLOCKED: Duration = Duration::from_millis(700);
const TICK: Duration = Duration::from_millis(2);
/// More than a program has to read until it is known.
const ECHOES: usize = 40;

struct Connection {
    stream: TcpStream,
    bytes: Pattern,
    /// Filled from `bytes`, sent from `at` on.
    buffer: Vec<u8>,
    at: usize,
    sent: u64,
}

/// Runs it; `blocked` is told what was taken once nothing more is.
pub(crate) fn run(options: &Client, blocked: impl FnOnce(&Report) -> Result<()>) -> Result<()> {
    let Client {
        to: _,
        prove,
        pace,
        connections,
        size,
        total,
        stay,
    } = options;
    if *prove {
        connect(options)?.prove(Duration::from_millis(*pace))?;
    }
    let mut open = (0..*connections)
        .map(|_| connect(options))
        .collect::<Result<Vec<_>>>()?;
    thread::sleep(Duration::from_millis(*pace));
    let mut last = Instant::now();
    while *size > 0 && last.elapsed() < BLOCKED {
        stop::check()?;
        let mut moved = false;
        let mut left = false;
        for connection in &mut open {
            let limit = total.unwrap_or(u64::MAX);
            moved |= connection.send(*size as usize, limit)?;
            left |= connection.sent < limit;
        }
        if !left {
            break;
        }
        if moved || total.is_some() {
            last = Instant::now();
        }
        if !moved {
            thread::sleep(TICK);
        }
    }
    let report = Report {
        connections: open.len(),
        bytes: open.iter().map(|connection| connection.sent).sum(),
    };
    if total.is_some() && !stay {
        for connection in open {
            connection.end()?;
        }
        return blocked(&report);
    }
    blocked(&report)?;
    while !stop::requested() {
        thread::sleep(TICK);
    }
    Ok(())
}

/// Without blocking from before the connect on, as Envoy does it.
fn connect(options: &Client) -> Result<Connection> {
    let socket = net::connect(None, options.to)?;
    Ok(Connection {
        stream: socket.into(),
        bytes: Pattern::new(0, Direction::Up),
        buffer: Vec::new(),
        at: 0,
        sent: 0,
    })
}

impl Connection {
    /// Sends until nothing more is taken; true where anything was.
    fn send(&mut self, size: usize, limit: u64) -> Result<bool> {
        let before = self.sent;
        while self.sent < limit {
            if self.at == self.buffer.len() {
                let left = usize::try_from(limit - self.sent).unwrap_or(usize::MAX);
                self.buffer.resize(size.min(left), 0);
                self.bytes.peek(&mut self.buffer);
                self.bytes.skip(self.buffer.len() as u64);
                self.at = 0;
            }
            match self.stream.write(&self.buffer[self.at..]) {
                Ok(count) => {
                    self.at += count;
                    self.sent += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("send"),
            }
        }
        Ok(self.sent > before)
    }

    /// Has some messages sent back, one after the other, and reads each until there is nothing more.
    fn prove(mut self, pace: Duration) -> Result<()> {
        let sent = [b'e'; 64];
        for _ in 0..ECHOES {
            thread::sleep(pace);
            self.stream.write_all(&sent).context("send")?;
            let mut left = sent.len();
            let mut buffer = [0; 256];
            loop {
                stop::check()?;
                match self.stream.read(&mut buffer) {
                    Ok(0) => bail!("the stream ended"),
                    Ok(count) => left = left.saturating_sub(count),
                    Err(error) if error.kind() != ErrorKind::WouldBlock => {
                        return Err(error).context("recv");
                    }
                    Err(_) if left == 0 => break,
                    Err(_) => wait_readable(&self.stream)?,
                }
            }
        }
        self.end()
    }

    /// Half-closes and waits for the other end's end.
    fn end(mut self) -> Result<()> {
        self.stream.shutdown(Shutdown::Write).context("shutdown")?;
        let mut buffer = [0; 64];
        loop {
            stop::check()?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => bail!("{count} bytes came from an end that sends none"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(TICK),
                Err(error) => return Err(error).context("recv"),
            }
        }
    }
}

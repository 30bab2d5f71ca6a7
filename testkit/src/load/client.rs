//! The asking side: one request at a time on each connection.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::codec;
use super::early::{First, Series, Watch};
use super::options::{Client, Protocol};
use super::report::Report;
use crate::mesh::cpu;
use crate::net::told;
use crate::pattern::{Direction, Pattern};
use crate::stop;

const READ_SIZE: usize = 64 * 1024;
const TICK: Duration = Duration::from_millis(50);
/// Requests on each connection of the warm-up.
const WARM_UP_REQUESTS: u64 = 8;
/// Significant figures of recorded times.
const FIGURES: u8 = 3;

/// One connection.
struct Asker {
    stream: TcpStream,
    pattern: Pattern,
    payload: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    asked: Instant,
    answered: u64,
    sent: u64,
    received: u64,
    watch: Option<Watch>,
}

impl Asker {
    fn new(options: &Client, index: u64) -> Result<Self> {
        let watch = options.first.then(Watch::new);
        let stream =
            TcpStream::connect(options.to).with_context(|| format!("connect to {}", options.to))?;
        stream.set_nodelay(true).context("setsockopt TCP_NODELAY")?;
        let mut asker = Self {
            stream,
            pattern: Pattern::new(index, Direction::Up),
            payload: vec![0; options.size],
            output: Vec::new(),
            written: 0,
            input: Vec::new(),
            asked: Instant::now(),
            answered: 0,
            sent: 0,
            received: 0,
            watch,
        };
        asker.ask(options.protocol)?;
        Ok(asker)
    }

    /// Makes the next request; no two have the same payload.
    fn ask(&mut self, protocol: Protocol) -> Result<()> {
        self.pattern.peek(&mut self.payload);
        self.pattern.skip(self.payload.len() as u64);
        self.output.clear();
        self.input.clear();
        self.written = 0;
        codec::request(protocol, &self.payload, &mut self.output)?;
        self.asked = Instant::now();
        Ok(())
    }

    /// Writes and reads as far as it goes; for each answer calls `done` with the time it took.
    fn pump(
        &mut self,
        protocol: Protocol,
        buffer: &mut [u8],
        mut done: impl FnMut(Duration),
    ) -> Result<()> {
        loop {
            while self.written < self.output.len() {
                match self.stream.write(&self.output[self.written..]) {
                    Ok(n) => {
                        self.written += n;
                        self.sent += n as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // Mio tells of an unfinished connect so.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                    Err(error) => return Err(error).context("send"),
                }
            }
            match self.stream.read(buffer) {
                Ok(0) => bail!("the stream ended after {} answers", self.answered),
                Ok(n) => {
                    self.input.extend_from_slice(&buffer[..n]);
                    self.received += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("recv"),
            }
            if let Some(payload) = codec::answered(protocol, &self.input, self.payload.len())? {
                if payload != self.payload {
                    let wrong = payload
                        .iter()
                        .zip(&self.payload)
                        .take_while(|(a, b)| a == b)
                        .count();
                    bail!("answer {}: wrong byte at offset {wrong}", self.answered);
                }
                self.answered += 1;
                if let Some(watch) = &mut self.watch {
                    watch.look(&self.stream, self.sent, self.received);
                }
                done(self.asked.elapsed());
                self.ask(protocol)?;
            }
        }
    }
}

/// Warms up, settles, measures, reports.
pub(crate) fn run(options: &Client) -> Result<Report> {
    for index in 0..options.warm_up {
        warm_up(options, index as u64)?;
    }
    let mut poll = Poll::new().context("epoll_create")?;
    let mut connections = Vec::new();
    let started = Instant::now();
    let mut series = (options.series > 0).then(|| Series::new(options.series));
    for index in 0..options.connections {
        let mut asker = Asker::new(options, (options.warm_up + index) as u64)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut asker.stream, Token(index), interest)?;
        connections.push(Some(asker));
    }
    let mut report = Report::default();
    let mut times = Histogram::<u64>::new(FIGURES).context("make a histogram")?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_SIZE];
    let settled = Instant::now() + Duration::from_millis(options.settle);
    let end = settled + Duration::from_millis(options.duration);
    let mut begun: Option<(Instant, Option<Duration>)> = None;
    let stall = Duration::from_millis(options.stall);
    let mut scanned = Instant::now();
    // A signal ends the measured time early.
    while Instant::now() < end && !stop::requested() && connections.iter().any(Option::is_some) {
        told(&mut poll, &mut events, TICK)?;
        if begun.is_none() && Instant::now() >= settled {
            begun = Some((Instant::now(), used(options)?));
        }
        for event in &events {
            let slot = &mut connections[event.token().0];
            let Some(asker) = slot else { continue };
            let measuring = begun.is_some();
            let result = asker.pump(options.protocol, &mut buffer, |time| {
                if let Some(series) = &mut series {
                    series.note(started.elapsed());
                }
                if measuring {
                    times
                        .record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
                        .ok();
                }
            });
            if let Err(error) = result {
                report.fault(format!("connection {}: {error:#}", event.token().0));
                *slot = None;
            }
        }
        if scanned.elapsed() > Duration::from_secs(1) {
            scanned = Instant::now();
            for (index, slot) in connections.iter_mut().enumerate() {
                if slot
                    .as_ref()
                    .is_some_and(|asker| asker.asked.elapsed() > stall)
                {
                    report.fault(format!("connection {index}: hang, no answer for {stall:?}"));
                    *slot = None;
                }
            }
        }
    }
    let Some((since, cpu_then)) = begun else {
        bail!(
            "no connection left before measuring began: {:?}",
            report.descriptions
        );
    };
    let over = since.elapsed();
    let cpu = used(options)?
        .zip(cpu_then)
        .map(|(now, then)| now.saturating_sub(then));
    report.measured(&times, over, cpu);
    report.series = series;
    report.first = options.first.then(|| first(&connections));
    Ok(report)
}

/// When each connection's first byte was redirected.
fn first(connections: &[Option<Asker>]) -> First {
    let mut first = First::default();
    let watches = connections
        .iter()
        .flatten()
        .filter_map(|asker| asker.watch.as_ref());
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    for watch in watches {
        first.connections += 1;
        first.sent.extend(watch.sent.map(micros));
        first.received.extend(watch.received.map(micros));
    }
    first
}

/// One connection with a few requests, so that the application's address gets known.
fn warm_up(options: &Client, index: u64) -> Result<()> {
    let mut poll = Poll::new().context("epoll_create")?;
    let mut asker = Asker::new(options, index)?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry()
        .register(&mut asker.stream, Token(0), interest)?;
    let mut events = Events::with_capacity(8);
    let mut buffer = vec![0; READ_SIZE];
    let started = Instant::now();
    while asker.answered < WARM_UP_REQUESTS {
        stop::check()?;
        if started.elapsed() > Duration::from_millis(options.stall) {
            bail!(
                "hang in the warm-up: {} answers on connection {index}",
                asker.answered
            );
        }
        told(&mut poll, &mut events, TICK)?;
        if !events.is_empty() {
            asker
                .pump(options.protocol, &mut buffer, |_| {})
                .context("warm-up")?;
        }
    }
    Ok(())
}

/// CPU time that the cgroup has used, where it is asked for.
fn used(options: &Client) -> Result<Option<Duration>> {
    options.cpu_of.as_deref().map(cpu::usage).transpose()
}

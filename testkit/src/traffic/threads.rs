//! Client and server made of blocking sockets and threads.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use mio::{Events, Poll};

use super::blocking::{Connection, Outcome, STACK};
use super::dial;
use super::options::{Client, Listen, Server};
use super::plan::{Plan, Shapes};
use super::report::Report;
use crate::net::told;
use crate::stop;

/// How often waiting loops look around.
const TICK: Duration = Duration::from_millis(20);

/// What all threads of a process share.
struct Crew {
    report: Mutex<Report>,
    open: Mutex<Vec<Weak<Connection>>>,
    stall: Duration,
}

impl Crew {
    fn new(role: &str, stall: u64) -> Arc<Self> {
        let (report, open) = (Mutex::new(Report::new(role)), Mutex::default());
        Arc::new(Self {
            report,
            open,
            stall: Duration::from_secs(stall),
        })
    }

    fn report(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Plays a part on a connection under the eye of the watchdog.
    fn play(&self, stream: TcpStream, label: &str, part: impl FnOnce(&Connection) -> Outcome) {
        let ends = format!("{:?} to {:?}", stream.local_addr(), stream.peer_addr());
        let connection = Arc::new(Connection::new(stream));
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        lock().push(Arc::downgrade(&connection));
        let Outcome {
            plan,
            moved,
            fault,
            hang,
        } = part(&connection);
        drop(connection);
        self.report(|report| match (plan, fault) {
            (Some(plan), None) => report.verified(&plan, moved),
            (_, fault) => {
                report.hangs += u64::from(hang);
                let (kind, words) = fault.unwrap_or_default();
                report.fault(kind, || format!("{label}, {ends}: {words}"));
            }
        });
    }

    /// Breaks stalled connections; how many are open.
    fn watch(&self) -> usize {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|connection| match connection.upgrade() {
            Some(connection) => {
                connection.break_if_stalled(self.stall);
                true
            }
            None => false,
        });
        open.len()
    }

    fn finish(self: &Arc<Self>, started: Instant) -> Report {
        let mut report = self
            .report
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        report.took(started.elapsed());
        report
    }
}

/// Accepts until SIGTERM, then gives open connections as long as a stall to end.
pub(crate) fn serve(options: &Server, ready: impl FnOnce()) -> Result<Report> {
    let mut poll = Poll::new().context("epoll_create")?;
    let listeners = dial::listen_all(&options.listen, &poll)?;
    ready();

    let crew = Crew::new("server", options.stall);
    let started = Instant::now();
    let mut events = Events::with_capacity(64);
    let mut rng = Rng::new();
    while !stop::requested() {
        told(&mut poll, &mut events, TICK * 5)?;
        for event in &events {
            if let Some((listener, listen)) = listeners.get(event.token().0) {
                accept(listener, listen, &crew, &mut rng)?;
            }
        }
        crew.watch();
    }
    let stopping = Instant::now();
    while crew.watch() > 0 && stopping.elapsed() < crew.stall + TICK * 50 {
        thread::sleep(TICK);
    }
    Ok(crew.finish(started))
}

fn accept(listener: &TcpListener, listen: &Listen, crew: &Arc<Crew>, rng: &mut Rng) -> Result<()> {
    while let Some(stream) = dial::accept(listener)? {
        let said = listen.greet.then(|| rng.u64(1..));
        let (crew, address) = (Arc::clone(crew), listen.address);
        crew.report(|report| report.connections += 1);
        let part = move || served(&crew, stream, address, said);
        thread::Builder::new()
            .stack_size(STACK)
            .spawn(part)
            .context("start a thread")?;
    }
    Ok(())
}

fn served(crew: &Crew, stream: TcpStream, address: SocketAddr, said: Option<u64>) {
    crew.play(stream, &format!("at {address}"), |connection| {
        connection.server(said)
    });
}

/// Makes all connections from `concurrency` threads and reports.
pub(crate) fn connect(options: &Client) -> Result<Report> {
    let crew = Crew::new("client", options.stall);
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let limit = started + Duration::from_secs(options.time_limit);
    let mut workers: Vec<JoinHandle<()>> = Vec::new();
    for _ in 0..options.concurrency {
        let (crew, next, options) = (Arc::clone(&crew), Arc::clone(&next), options.clone());
        let work = move || {
            let shapes = options.shapes();
            while !stop::requested() && Instant::now() < limit {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= options.connections {
                    break;
                }
                call(&crew, &options, index, &shapes);
            }
        };
        workers.push(
            thread::Builder::new()
                .stack_size(STACK)
                .spawn(work)
                .context("start a thread")?,
        );
    }
    while workers.iter().any(|worker| !worker.is_finished()) {
        crew.watch();
        thread::sleep(TICK);
    }
    stop::check()?;
    let report = crew.finish(started);
    if report.connections < options.connections {
        bail!(
            "only {} connections begun after {} s",
            report.connections,
            options.time_limit
        );
    }
    Ok(report)
}

fn call(crew: &Crew, options: &Client, index: u64, shapes: &Shapes) {
    let mut rng = Rng::with_seed(options.seed.wrapping_mul(0x1_0000_0001).wrapping_add(index));
    let plan = Plan::random(&mut rng, shapes);
    crew.report(|report| report.connections += 1);
    match dial::with_port(options, index, dial::connect) {
        Ok((stream, taken)) => {
            crew.report(|report| report.port_retries += taken);
            let label = format!("connection {index}");
            crew.play(stream, &label, |connection| {
                connection.client(plan, options.greet)
            });
        }
        Err(error) => {
            crew.report(|report| {
                report.fault("connect", || {
                    format!("connection {index}: connect: {error}")
                });
            });
        }
    }
}

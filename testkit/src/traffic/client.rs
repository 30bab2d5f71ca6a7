//! The connecting side on non-blocking sockets.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use mio::net::TcpStream;
use mio::{Events, Poll};

use super::dial;
use super::end::{Buffers, End};
use super::options::Client;
use super::plan::Plan;
use super::report::Report;
use super::table::{Entry, Table};
use crate::net::told;
use crate::stop;

/// How long a wait for events lasts at most.
const TICK: Duration = Duration::from_millis(50);

/// Makes all connections and reports.
pub(crate) fn run(client: &Client) -> Result<Report> {
    let mut poll = Poll::new().context("epoll_create")?;
    let mut events = Events::with_capacity(1024);
    let mut open = Table::new(0, Duration::from_secs(client.stall));
    let mut report = Report::new("client");
    let mut buffers = Buffers::default();
    let mut rng = Rng::with_seed(client.seed);
    let shapes = client.shapes();
    let started = Instant::now();
    let limit = Duration::from_secs(client.time_limit);
    loop {
        while report.connections < client.connections && open.len() < client.concurrency {
            if started.elapsed() > limit {
                bail!(
                    "only {} connections begun after {} s, faults: {:?}",
                    report.connections,
                    client.time_limit,
                    report.descriptions
                );
            }
            let index = report.connections;
            report.connections += 1;
            let plan = Plan::random(&mut rng, &shapes);
            match dial::with_port(client, index, dial::start) {
                Ok((stream, ports_tried)) => {
                    report.port_retries += ports_tried;
                    let stream = TcpStream::from_std(stream);
                    let end = End::client(plan, client.greet);
                    let label = format!("connection {index}");
                    let token = open.add(Entry::new(stream, end, label), &poll)?;
                    // At once, without waiting for the handshake to end: bytes
                    // that race with the setting up of the connection.
                    open.drive(token, true, &poll, &mut report, &mut buffers);
                }
                Err(error) => report.fault("connect", || {
                    format!("connection {index}: connect: {error}")
                }),
            }
        }
        if open.is_empty() {
            break;
        }
        stop::check()?;
        told(&mut poll, &mut events, TICK)?;
        for event in &events {
            let writable = event.is_writable();
            open.drive(event.token(), writable, &poll, &mut report, &mut buffers);
        }
        open.scan(&poll, &mut report);
    }
    report.took(started.elapsed());
    Ok(report)
}

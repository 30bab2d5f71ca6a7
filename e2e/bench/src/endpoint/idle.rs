//! Connections that are open and do nothing.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use sockway_testkit::{output, stop};

use super::Idle;
use crate::net;

/// Round trips on a first connection, from which the datapath learns how this program reads.
const TRIPS: usize = 32;
const TICK: Duration = Duration::from_millis(50);

/// Opens them, says that it is ready, and waits for SIGTERM.
pub(super) fn run(options: &Idle) -> Result<()> {
    let Idle {
        from,
        to,
        connections,
    } = *options;
    let listener = net::listen(to)?;
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    let mut message = [0x5a; 64];
    for index in 0..=connections {
        let client = net::connect(Some(from), to)?;
        let server = net::accept(&listener)?;
        for _ in 0..if index == 0 { TRIPS } else { 1 } {
            net::send(&client, &message)?;
            net::receive(&server, &mut message)?;
            net::send(&server, &message)?;
            net::receive(&client, &mut message)?;
        }
        clients.push(client);
        servers.push(server);
    }
    output::ready();
    while !stop::requested() {
        thread::park_timeout(TICK);
    }
    // In this order: it is not the clients' ports that wait.
    drop(servers);
    drop(clients);
    Ok(())
}

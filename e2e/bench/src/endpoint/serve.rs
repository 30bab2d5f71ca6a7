//! Echo and sink.

use std::net::SocketAddr;
use std::thread;

use anyhow::{Context, Result};
use socket2::Socket;
use sockway_testkit::stop;

use super::Serve;
use crate::net;

/// Threads of the echo: as many connections are served at a time.
const THREADS: usize = 64;
const BUFFER: usize = 256 * 1024;

/// Serves until SIGTERM.
pub(super) fn run(options: &Serve) -> Result<()> {
    let Serve { echo, sink } = options;
    start(*echo, THREADS, |socket| net::echo(socket, BUFFER))?;
    start(*sink, 4, self::sink)?;
    while !stop::requested() {
        thread::park_timeout(std::time::Duration::from_millis(50));
    }
    Ok(())
}

fn start(at: SocketAddr, threads: usize, serve: fn(&Socket) -> Result<()>) -> Result<()> {
    let listener = net::listen(at)?;
    for _ in 0..threads {
        let listener = listener.try_clone().context("dup")?;
        thread::spawn(move || {
            loop {
                // A connection that breaks, and a wait for one that is too long, are the client's to tell.
                if let Ok(socket) = net::accept(&listener) {
                    drop(serve(&socket));
                }
            }
        });
    }
    Ok(())
}

/// Counts bytes to the end of the stream and answers with their number, big-endian.
fn sink(socket: &Socket) -> Result<()> {
    let bytes = net::count(socket, BUFFER)?;
    net::send(socket, &bytes.to_be_bytes())
}

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
    start(*echo, THREADS, echo_one)?;
    start(*sink, 4, sink_one)?;
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

fn echo_one(socket: &Socket) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match net::some(socket, &mut buffer)? {
            0 => return Ok(()),
            got => net::send(socket, &buffer[..got])?,
        }
    }
}

/// Counts bytes to the end of the stream and answers with their number, big-endian.
fn sink_one(socket: &Socket) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0_u64;
    loop {
        match net::some(socket, &mut buffer)? {
            0 => break,
            got => bytes += got as u64,
        }
    }
    net::send(socket, &bytes.to_be_bytes())
}

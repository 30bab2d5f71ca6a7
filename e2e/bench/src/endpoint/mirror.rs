//! One stream as fast as it goes, and back: both directions at once.

use std::net::Shutdown;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};

use super::Dial;
use super::stream::{self, More};
use crate::net;
use crate::results::Measured;

const BUFFER: usize = 256 * 1024;

/// Sends for a time and receives all of it back. The rate is in MiB per second of one direction.
pub(super) fn run(options: &Dial) -> Result<Measured> {
    stream::rate(options, stream)
}

fn stream(options: &Dial, more: More<'_>) -> Result<u64> {
    let (socket, _events) = stream::connect(options)?;
    let message = vec![0x5a; options.size];
    let (sent, received) = thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<u64> {
            let mut sent = 0;
            while more(sent) {
                net::send(&socket, &message)?;
                sent += message.len() as u64;
            }
            socket.shutdown(Shutdown::Write).context("shutdown")?;
            Ok(sent)
        });
        let received = net::count(&socket, BUFFER);
        let sent = sender.join().map_err(|_| anyhow!("panic in a sender"))??;
        anyhow::Ok((sent, received?))
    })?;
    ensure!(
        sent == received,
        "{sent} bytes were sent, {received} came back"
    );
    Ok(sent)
}

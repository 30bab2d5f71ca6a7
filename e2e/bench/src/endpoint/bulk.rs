//! One stream as fast as it goes.

use anyhow::{Result, ensure};

use super::Dial;
use super::stream::{self, More};
use crate::net;
use crate::results::Measured;

/// Sends for a time, then waits until the other end has counted all of it. The
/// rate is in MiB per second.
pub(super) fn run(options: &Dial) -> Result<Measured> {
    stream::rate(options, stream)
}

fn stream(options: &Dial, more: More<'_>) -> Result<u64> {
    let (socket, _events) = stream::connect(options)?;
    let message = vec![0x5a; options.size];
    let mut sent = 0;
    while more(sent) {
        net::send(&socket, &message)?;
        sent += message.len() as u64;
    }
    socket.shutdown(std::net::Shutdown::Write)?;
    let mut answer = [0; 8];
    net::receive(&socket, &mut answer)?;
    let counted = u64::from_be_bytes(answer);
    ensure!(counted == sent, "{sent} bytes were sent, {counted} came");
    Ok(sent)
}

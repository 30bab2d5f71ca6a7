//! Connections that are reset as soon as they are begun.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::PollFlags;

use super::options::Storm;
use crate::{net, stop};

/// How long a handshake is waited for where it is waited for.
const HANDSHAKE: Duration = Duration::from_millis(50);

/// Makes and resets them all, in turn at once and when established.
pub(crate) fn run(options: &Storm) -> Result<()> {
    let Storm { to, connections } = *options;
    for number in 0..connections {
        stop::check()?;
        let socket = net::socket(None, to)?;
        // A close is then a reset, whatever state it finds.
        socket
            .set_linger(Some(Duration::ZERO))
            .context("setsockopt SO_LINGER")?;
        net::start(&socket, to).with_context(|| format!("connection {number} to {to}"))?;
        if number % 2 == 1 {
            // Not established in time is a manner of being reset, too.
            net::wait_for(&socket, PollFlags::POLLOUT, HANDSHAKE)?;
        }
    }
    Ok(())
}

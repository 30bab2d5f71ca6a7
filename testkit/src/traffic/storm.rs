//! Connections that are reset as soon as they are begun.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::options::Storm;
use crate::stop;

/// How long a handshake is waited for where it is waited for, ms.
const HANDSHAKE: u16 = 50;

/// Makes and resets them all, in turn at once and when established.
pub(crate) fn run(options: &Storm) -> Result<()> {
    let Storm { to, connections } = *options;
    for number in 0..connections {
        stop::check()?;
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))
            .context("socket")?;
        socket.set_nonblocking(true).context("set O_NONBLOCK")?;
        // A close is then a reset, whatever state it finds.
        socket
            .set_linger(Some(Duration::ZERO))
            .context("setsockopt SO_LINGER")?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
                return Err(error).with_context(|| format!("connection {number} to {to}"));
            }
            _ => {}
        }
        if number % 2 == 1 {
            established(socket.as_fd()).with_context(|| format!("connection {number}"))?;
        }
    }
    Ok(())
}

fn established(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut fds = [PollFd::new(socket, PollFlags::POLLOUT)];
    // Not established in time is a manner of being reset, too.
    poll(&mut fds, PollTimeout::from(HANDSHAKE))?;
    Ok(())
}

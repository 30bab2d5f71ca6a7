//! One end of a connection, used in one style.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use socket2::Socket;

use crate::pace;
use crate::sys::{self, Got, errno};
use crate::variant::Style;

/// How long a non-blocking end waits for anything before it says ETIMEDOUT.
const PATIENCE: Duration = Duration::from_secs(6);

/// What one call writes at most.
const PART: usize = 16 * 1024;

/// How a stream ended.
pub(crate) type Finish = Got<()>;

/// A socket and how its owner uses it.
#[derive(Debug)]
pub(crate) struct End {
    socket: Socket,
    style: Style,
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl End {
    /// The socket must be in the mode that `style` says.
    pub(crate) fn new(socket: Socket, style: Style) -> Self {
        Self { socket, style }
    }

    /// From a descriptor that came by another way.
    pub(crate) fn from_fd(fd: OwnedFd, style: Style) -> Self {
        Self::new(Socket::from(fd), style)
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// How it is used.
    pub(crate) fn style(&self) -> Style {
        self.style
    }

    /// Another descriptor of the same socket.
    pub(crate) fn dup(&self) -> Got<Self> {
        let socket = self.socket.try_clone().map_err(|e| errno(&e))?;
        Ok(Self::new(socket, self.style))
    }

    /// Sets or clears `O_NONBLOCK` and goes on in that style.
    pub(crate) fn change(&mut self, style: Style) -> Got<()> {
        let nonblocking = style == Style::NonBlocking;
        self.socket
            .set_nonblocking(nonblocking)
            .map_err(|e| errno(&e))?;
        self.style = style;
        Ok(())
    }

    /// Waits until one of `events` is there; ETIMEDOUT where it does not come.
    pub(crate) fn ready(&self, events: PollFlags) -> Got<PollFlags> {
        let ready = sys::wait_for(self, events, pace::allow(PATIENCE))?;
        if ready.is_empty() {
            Err(Errno::ETIMEDOUT)
        } else {
            Ok(ready)
        }
    }

    /// What `poll` says now.
    pub(crate) fn now(&self, events: PollFlags) -> Got<PollFlags> {
        sys::wait_for(self, events, Duration::ZERO)
    }

    /// Repeats a call, in a non-blocking end, as long as it says EAGAIN and `events` come.
    pub(crate) fn patiently<T>(
        &self,
        events: PollFlags,
        mut call: impl FnMut() -> Got<T>,
    ) -> Got<T> {
        loop {
            match call() {
                Err(Errno::EAGAIN) if self.style == Style::NonBlocking => {
                    self.ready(events)?;
                }
                result => return result,
            }
        }
    }

    /// One read, which waits for at least one byte or the stream's end.
    pub(crate) fn recv(&self, buffer: &mut [u8], flags: i32) -> Got<usize> {
        self.patiently(PollFlags::POLLIN, || sys::recv(self, buffer, flags))
    }

    /// Reads `count` bytes, or fewer where the stream ends.
    pub(crate) fn take(&self, count: usize) -> Got<Vec<u8>> {
        self.take_by(count, count.max(1))
    }

    /// Like [`Self::take`], by reads of `step` bytes at most.
    pub(crate) fn take_by(&self, count: usize, step: usize) -> Got<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut at = 0;
        while at < count {
            let to = count.min(at + step);
            match self.recv(&mut bytes[at..to], 0)? {
                0 => break,
                n => at += n,
            }
        }
        bytes.truncate(at);
        Ok(bytes)
    }

    /// Writes all of it, in parts as programs do.
    pub(crate) fn put(&self, mut bytes: &[u8]) -> Got<()> {
        while !bytes.is_empty() {
            let part = &bytes[..bytes.len().min(PART)];
            let sent = self.patiently(PollFlags::POLLOUT, || sys::send(self, part, 0))?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Reads to the stream's end; what came, and whether it ended well.
    pub(crate) fn rest(&self) -> (Vec<u8>, Finish) {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.recv(&mut buffer, 0) {
                Ok(0) => return (bytes, Ok(())),
                Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                Err(e) => return (bytes, Err(e)),
            }
        }
    }

    /// `shutdown(2)`.
    pub(crate) fn shutdown(&self, how: std::net::Shutdown) -> Got<()> {
        self.socket.shutdown(how).map_err(|e| errno(&e))
    }

    /// Sends and receives at once, as Envoy does, until all is sent and `count` bytes came.
    pub(crate) fn exchange(&self, mut out: &[u8], count: usize) -> Got<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut at = 0;
        while at < count || !out.is_empty() {
            let mut events = PollFlags::empty();
            if at < count {
                events |= PollFlags::POLLIN;
            }
            if !out.is_empty() {
                events |= PollFlags::POLLOUT;
            }
            let ready = self.ready(events)?;
            if ready.contains(PollFlags::POLLIN) && at < count {
                match sys::recv(self, &mut bytes[at..], libc::MSG_DONTWAIT) {
                    Ok(0) => break,
                    Ok(n) => at += n,
                    Err(Errno::EAGAIN) => {}
                    Err(e) => return Err(e),
                }
            }
            if ready.contains(PollFlags::POLLOUT) && !out.is_empty() {
                match sys::send(self, &out[..out.len().min(PART)], libc::MSG_DONTWAIT) {
                    Ok(n) => out = &out[n..],
                    Err(Errno::EAGAIN) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        bytes.truncate(at);
        Ok(bytes)
    }

    /// Sends `part` over and over until nothing is taken for `quiet`; how many bytes were taken.
    pub(crate) fn fill(&self, part: &[u8], at_most: usize, quiet: Duration) -> Got<usize> {
        let (mut total, mut since) = (0, Instant::now());
        while total < at_most && since.elapsed() < quiet {
            // The kernel may have taken a piece of it.
            let rest = &part[total % part.len()..];
            match sys::send(self, rest, libc::MSG_DONTWAIT) {
                Ok(n) => {
                    total += n;
                    since = Instant::now();
                }
                Err(Errno::EAGAIN) => {
                    sys::wait_for(self, PollFlags::POLLOUT, quiet)?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(total)
    }
}

//! Connections whose every byte is known by its place in the stream.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::os::fd::AsRawFd;

/// How long anything may take before it counts as a hang.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a sender may not get on before it counts as stopped.
const STOPPED: Duration = Duration::from_millis(60);

/// One end, and how many bytes it has sent and received.
#[derive(Debug)]
pub struct End {
    socket: TcpStream,
    sent: u64,
    got: u64,
}

/// Both ends of a connection.
#[derive(Debug)]
pub struct Wire {
    /// The end that connected; never blocks.
    pub client: End,
    /// The end that was accepted.
    pub server: End,
}

impl Wire {
    /// Connects `from` to the listener. `blocking`: the accepted end blocks.
    ///
    /// # Errors
    ///
    /// The kernel's, or where it takes longer than 4 s.
    pub fn open(
        listener: &TcpListener,
        from: Ipv4Addr,
        to: SocketAddrV4,
        blocking: bool,
    ) -> Result<Self> {
        let client = dial(from, to).with_context(|| format!("cannot connect {from} to {to}"))?;
        wait(listener, PollFlags::POLLIN)?;
        let (server, _) = listener.accept().context("cannot accept")?;
        server
            .set_nonblocking(!blocking)
            .context("cannot set O_NONBLOCK")?;
        let end = |socket| End {
            socket,
            sent: 0,
            got: 0,
        };
        Ok(Self {
            client: end(client),
            server: end(server),
        })
    }

    /// `rounds` messages of `size` bytes there and back.
    ///
    /// # Errors
    ///
    /// Where a byte is wrong, or one does not come.
    pub fn ping_pong(&mut self, rounds: usize, size: usize) -> Result<()> {
        for _ in 0..rounds {
            self.client.send(size)?;
            self.server.receive(size)?;
            self.server.send(size)?;
            self.client.receive(size)?;
        }
        Ok(())
    }
}

/// A non-blocking connection, non-blocking from its first moment on.
fn dial(from: Ipv4Addr, to: SocketAddrV4) -> Result<TcpStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    bind(
        fd.as_raw_fd(),
        &SockaddrIn::from(SocketAddrV4::new(from, 0)),
    )?;
    match connect(fd.as_raw_fd(), &SockaddrIn::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(e) => return Err(e.into()),
    }
    wait(&fd, PollFlags::POLLOUT)?;
    let stream = TcpStream::from(fd);
    match stream.take_error()? {
        Some(e) => Err(e.into()),
        None => Ok(stream),
    }
}

fn ready(fd: &impl AsFd, what: PollFlags, limit: Duration) -> Result<bool> {
    let mut fds = [PollFd::new(fd.as_fd(), what)];
    let limit = PollTimeout::try_from(limit).context("too long a time")?;
    Ok(poll(&mut fds, limit).context("cannot poll")? > 0)
}

fn wait(fd: &impl AsFd, what: PollFlags) -> Result<()> {
    ensure!(
        ready(fd, what, PATIENCE)?,
        "nothing happened for {} s",
        PATIENCE.as_secs()
    );
    Ok(())
}

/// The bytes of a stream from a place on: no two places within 16 MiB look alike.
fn fill(buffer: &mut [u8], from: u64) {
    for (byte, at) in buffer.iter_mut().zip(from..) {
        let mixed = (at / 4).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ at;
        *byte = mixed.to_le_bytes()[(at % 4) as usize];
    }
}

impl End {
    /// Sends the next `count` bytes of its stream as one message.
    ///
    /// # Errors
    ///
    /// The kernel's, or where it takes longer than 4 s.
    pub fn send(&mut self, count: usize) -> Result<()> {
        let mut message = vec![0; count];
        fill(&mut message, self.sent);
        let mut rest = &message[..];
        while !rest.is_empty() {
            match self.socket.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    wait(&self.socket, PollFlags::POLLOUT)?;
                }
                Err(e) => return Err(e).context("cannot send"),
            }
        }
        self.sent += count as u64;
        Ok(())
    }

    /// Sends messages of `size` bytes until the kernel takes no more, or `at_most` bytes;
    /// says how many it took.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn stuff(&mut self, size: usize, at_most: u64) -> Result<u64> {
        let (mut message, before) = (vec![0; size], self.sent);
        while self.sent - before < at_most {
            fill(&mut message, self.sent);
            match self.socket.write(&message) {
                Ok(n) => self.sent += n as u64,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if !ready(&self.socket, PollFlags::POLLOUT, STOPPED)? {
                        break;
                    }
                }
                Err(e) => return Err(e).context("cannot send"),
            }
        }
        Ok(self.sent - before)
    }

    /// Receives exactly `count` bytes and compares each with what belongs at its place.
    ///
    /// # Errors
    ///
    /// Where one is wrong, the stream ends, or nothing comes for 4 s.
    pub fn receive(&mut self, count: usize) -> Result<()> {
        let (mut buffer, mut expected) =
            (vec![0; count.min(64 << 10)], vec![0; count.min(64 << 10)]);
        let (mut left, start) = (count, Instant::now());
        while left > 0 {
            let room = left.min(buffer.len());
            match self.socket.read(&mut buffer[..room]) {
                Ok(0) => bail!("the stream ended {left} bytes early"),
                Ok(n) => {
                    fill(&mut expected[..n], self.got);
                    let wrong = buffer[..n].iter().zip(&expected).position(|(a, b)| a != b);
                    if let Some(wrong) = wrong {
                        bail!(
                            "byte {} is not the one that was sent there",
                            self.got + wrong as u64
                        );
                    }
                    self.got += n as u64;
                    left -= n;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    wait(&self.socket, PollFlags::POLLIN)
                        .with_context(|| format!("{left} of {count} bytes did not come"))?;
                }
                Err(e) => return Err(e).context("cannot receive"),
            }
            ensure!(
                start.elapsed() < PATIENCE * 2,
                "{left} of {count} bytes came too slowly"
            );
        }
        Ok(())
    }

    /// Reads on until there is nothing more, as a program does that is known to have no use for
    /// the length of its queue.
    ///
    /// # Errors
    ///
    /// Where there is something.
    pub fn finds_nothing(&mut self) -> Result<()> {
        match self.socket.read(&mut [0]) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(e).context("cannot receive"),
            Ok(n) => bail!("{n} bytes too many came"),
        }
    }

    /// Sends no more.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn finish(&self) -> Result<()> {
        self.socket
            .shutdown(Shutdown::Write)
            .context("cannot shut down")
    }

    /// Checks that a send is answered as after [`Self::finish`].
    ///
    /// # Errors
    ///
    /// Where it is not.
    pub fn sends_no_more(&mut self) -> Result<()> {
        match self.socket.write(b"late") {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => bail!("a send after its own shutdown was answered with {other:?}"),
        }
    }

    /// Waits for the end of the other end's stream.
    ///
    /// # Errors
    ///
    /// Where more bytes come, or no end within 4 s.
    pub fn ends(&mut self) -> Result<()> {
        wait(&self.socket, PollFlags::POLLIN).context("the end of the stream did not come")?;
        match self.socket.read(&mut [0; 16]) {
            Ok(0) => Ok(()),
            other => bail!("instead of the end of the stream came {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests;

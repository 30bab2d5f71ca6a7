//! One end of a connection on a non-blocking socket.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::SockRef;

use super::fault::{Fault, is_reset};
use super::plan::Plan;
use super::rx::{Read1, Rx, greeting};
use super::tx::{Last, Status, Tx};

/// Bytes of one `recv` at most.
const READ_SIZE: usize = 256 * 1024;

/// Buffers that the connections of one thread share.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    io: Vec<u8>,
    scratch: Vec<u8>,
}

/// Both halves and what is between them.
#[derive(Debug)]
pub(crate) struct End {
    rx: Rx,
    tx: Tx,
    said: Option<u64>,
    started: bool,
    full: bool,
    shut: bool,
}

impl End {
    /// The connecting end.
    pub(crate) fn client(plan: Plan, greeted: bool) -> Self {
        let tx = Tx::client(&plan, greeted);
        let rx = Rx::client(plan, greeted);
        Self {
            rx,
            tx,
            said: None,
            started: true,
            full: false,
            shut: false,
        }
    }

    /// The accepting end; `said`: seed of the greeting it says first, if any.
    pub(crate) fn server(said: Option<u64>) -> Self {
        let tx = Tx::server(said.map(greeting).unwrap_or_default());
        let rx = Rx::server();
        Self {
            rx,
            tx,
            said,
            started: false,
            full: false,
            shut: false,
        }
    }

    /// The plan, once known.
    pub(crate) const fn plan(&self) -> Option<&Plan> {
        self.rx.plan.as_ref()
    }

    /// Bytes of bodies sent and received.
    pub(crate) const fn moved(&self) -> (u64, u64) {
        (self.tx.sent, self.rx.progress.received)
    }

    /// Where it stands, for messages.
    pub(crate) fn position(&self) -> String {
        let (sent, received) = self.moved();
        let step = self.tx.step();
        let full = if self.full { ", socket full" } else { "" };
        format!(
            "sent {sent}, at {step}{full}; received {received} of {}",
            self.rx.expected()
        )
    }

    /// The socket takes bytes again.
    pub(crate) const fn writable(&mut self) {
        self.full = false;
    }

    /// Moves whatever can be moved now; true once the connection is over and can be dropped.
    pub(crate) fn pump<S: Read + Write + AsFd>(
        &mut self,
        socket: &mut S,
        buffers: &mut Buffers,
    ) -> Result<bool, Fault> {
        let Buffers { io, scratch } = buffers;
        loop {
            self.start()?;
            let mut finished = self.shut;
            if !self.full && !self.shut {
                let plan = self.rx.plan.as_ref();
                match self.tx.advance(socket, self.rx.progress, plan, io)? {
                    Status::Full => self.full = true,
                    Status::Waiting(_) => {}
                    Status::Done(last) => {
                        finish(socket, last, self.rx.may_be_cut() || self.rx.progress.ended)?;
                        if last != Last::Shut {
                            return Ok(true);
                        }
                        self.shut = true;
                        finished = true;
                    }
                }
            }
            if self.rx.progress.ended {
                return Ok(finished);
            }
            if self.rx.read(socket, io, scratch, READ_SIZE)? == Read1::WouldBlock {
                return Ok(false);
            }
        }
    }

    /// A server that has learnt the plan begins its part.
    fn start(&mut self) -> Result<(), Fault> {
        if self.started {
            return Ok(());
        }
        let Some(plan) = &self.rx.plan else {
            return Ok(());
        };
        check_greeting(plan, self.said)?;
        self.tx.start(plan);
        self.started = true;
        Ok(())
    }
}

/// The client must have heard what this connection's server said.
pub(crate) fn check_greeting(plan: &Plan, said: Option<u64>) -> Result<(), Fault> {
    let said = said.unwrap_or(0);
    if plan.greeting == said {
        return Ok(());
    }
    Err(Fault::Greeting {
        heard: plan.greeting,
        said,
    })
}

/// Ends the sending side of a socket.
///
/// `may_be_gone`: the other end may have closed or reset the connection already.
pub(crate) fn finish(socket: &impl AsFd, last: Last, may_be_gone: bool) -> Result<(), Fault> {
    let socket = SockRef::from(socket);
    let (call, result) = match last {
        Last::Shut => ("shutdown", socket.shutdown(Shutdown::Write)),
        Last::Abort => (
            "setsockopt SO_LINGER",
            socket.set_linger(Some(Duration::ZERO)),
        ),
        Last::Close => return Ok(()),
    };
    match result {
        Err(error) if may_be_gone && is_reset(&error) => Ok(()),
        result => result.map_err(|error| Fault::Io { call, error }),
    }
}

//! The sending half of an end: plays the steps.

use std::collections::VecDeque;
use std::io::{self, Write};

use fastrand::Rng;

use super::fault::{Fault, is_reset};
use super::plan::{Plan, log_uniform};
use super::rx::Progress;
use super::script::{self, Gate, Step};
use crate::pattern::{Direction, Pattern};

/// The largest single `send`, bytes.
const MAX_PIECE: u64 = 1 << 20;

/// What ends a sending side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// Shut down: the other direction goes on until its end.
    Shut,
    /// Close at once.
    Close,
    /// Reset.
    Abort,
}

/// Where the sending half stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The socket takes no more for now.
    Full,
    /// Waits for the receiving half.
    Waiting(Gate),
    /// Everything is sent; what the caller must do with the socket now.
    Done(Last),
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct Tx {
    steps: VecDeque<Step>,
    raw: Vec<u8>,
    pattern: Pattern,
    piece: u64,
    rng: Rng,
    may_be_cut: bool,
    /// Bytes of the body sent so far.
    pub(crate) sent: u64,
}

impl Tx {
    /// Of a client, whose server may speak first.
    pub(crate) fn client(plan: &Plan, greeted: bool) -> Self {
        Self {
            steps: script::client(plan, greeted),
            raw: Vec::new(),
            pattern: Pattern::new(plan.seed, Direction::Up),
            piece: 0,
            rng: Rng::with_seed(plan.seed ^ 1),
            may_be_cut: plan.kind.aborts(),
            sent: 0,
        }
    }

    /// Of a server that says `greeting` (or nothing) and then waits for the header.
    pub(crate) fn server(greeting: Vec<u8>) -> Self {
        Self {
            steps: VecDeque::from([Step::Wait(Gate::Plan)]),
            raw: greeting,
            pattern: Pattern::new(0, Direction::Down),
            piece: 0,
            rng: Rng::with_seed(0),
            may_be_cut: false,
            sent: 0,
        }
    }

    /// A server has read the header.
    pub(crate) fn start(&mut self, plan: &Plan) {
        self.steps = script::server(plan);
        self.pattern = Pattern::new(plan.seed, Direction::Down);
        self.rng = Rng::with_seed(plan.seed ^ 2);
        self.may_be_cut = plan.kind.aborts();
    }

    /// The step at hand, for messages.
    pub(crate) fn step(&self) -> String {
        self.steps
            .front()
            .map_or_else(|| "done".to_owned(), |step| format!("{step:?}"))
    }

    /// Goes on as far as the socket and the other half let it.
    ///
    /// `plan` is needed for the header only.
    pub(crate) fn advance(
        &mut self,
        to: &mut impl Write,
        progress: Progress,
        plan: Option<&Plan>,
        buffer: &mut Vec<u8>,
    ) -> Result<Status, Fault> {
        loop {
            if !self.raw.is_empty() {
                match to.write(&self.raw) {
                    Ok(n) => drop(self.raw.drain(..n)),
                    Err(error) => {
                        if let Some(status) = self.refused(error)? {
                            return Ok(status);
                        }
                    }
                }
                continue;
            }
            match self.steps.front_mut() {
                None | Some(Step::Shut) => return Ok(Status::Done(Last::Shut)),
                Some(Step::Close) => return Ok(Status::Done(Last::Close)),
                Some(Step::Abort) => return Ok(Status::Done(Last::Abort)),
                Some(Step::Wait(gate)) => {
                    if !open(*gate, progress) {
                        return Ok(Status::Waiting(*gate));
                    }
                    self.steps.pop_front();
                }
                Some(Step::Header) => {
                    if let Some(plan) = plan {
                        let greeting = progress.greeting.unwrap_or(0);
                        self.raw = Plan {
                            greeting,
                            ..plan.clone()
                        }
                        .to_bytes()
                        .to_vec();
                    }
                    self.steps.pop_front();
                }
                Some(Step::Send(0)) => drop(self.steps.pop_front()),
                Some(Step::Send(left)) => {
                    if self.piece == 0 {
                        self.piece = log_uniform(&mut self.rng, MAX_PIECE).min(*left);
                    }
                    buffer.resize(usize::try_from(self.piece).unwrap_or(0), 0);
                    self.pattern.peek(buffer);
                    match to.write(buffer) {
                        Ok(n) => {
                            let n = n as u64;
                            self.pattern.skip(n);
                            self.piece -= n;
                            self.sent += n;
                            *left -= n;
                        }
                        Err(error) => {
                            if let Some(status) = self.refused(error)? {
                                return Ok(status);
                            }
                        }
                    }
                }
            }
        }
    }

    /// What a failed `send` means; `None`: try again.
    fn refused(&self, error: io::Error) -> Result<Option<Status>, Fault> {
        match error.kind() {
            io::ErrorKind::WouldBlock => Ok(Some(Status::Full)),
            io::ErrorKind::Interrupted => Ok(None),
            _ if self.may_be_cut && is_reset(&error) => Ok(Some(Status::Done(Last::Close))),
            _ => Err(Fault::Io {
                call: "send",
                error,
            }),
        }
    }
}

/// Whether the receiving half has come so far.
pub(crate) fn open(gate: Gate, progress: Progress) -> bool {
    match gate {
        Gate::Plan => false,
        Gate::Greeting => progress.greeting.is_some(),
        // A stream that was cut (only plans that abort allow it) opens every gate.
        Gate::Received(bytes) => progress.received >= bytes || progress.ended,
        Gate::End => progress.ended,
    }
}

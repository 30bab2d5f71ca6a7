//! The receiving half of an end: checks every byte.

use std::io::{self, Read};

use super::fault::{Fault, is_reset};
use super::plan::{HEADER, Plan};
use crate::pattern::{Direction, Pattern};

/// Bytes of a greeting before its pattern: magic and seed.
const GREETING_HEAD: usize = 16;
/// Bytes of pattern in a greeting.
const GREETING_BODY: usize = 75;
const GREETING_MAGIC: u64 = 0x5357_5931_6772_6565;

/// What a server that speaks first says: self-described, then verified bytes.
pub(crate) fn greeting(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; GREETING_HEAD + GREETING_BODY];
    bytes[..8].copy_from_slice(&GREETING_MAGIC.to_le_bytes());
    bytes[8..GREETING_HEAD].copy_from_slice(&seed.to_le_bytes());
    Pattern::new(seed, Direction::Greeting).peek(&mut bytes[GREETING_HEAD..]);
    bytes
}

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Header,
    Body,
}

/// How far reading has come; what the sending half waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The greeting's seed, once it has been read.
    pub(crate) greeting: Option<u64>,
    /// Bytes of the body.
    pub(crate) received: u64,
    /// The stream has ended.
    pub(crate) ended: bool,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Rx {
    phase: Phase,
    head: Vec<u8>,
    pattern: Pattern,
    /// The plan, as soon as this end knows it.
    pub(crate) plan: Option<Plan>,
    expected: u64,
    may_be_cut: bool,
    /// How far it has come.
    pub(crate) progress: Progress,
}

/// Whether a call for more would have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read1 {
    /// Something arrived.
    Some,
    /// The stream ended.
    Ended,
    /// Nothing there.
    WouldBlock,
}

impl Rx {
    /// Of a client, whose server may speak first.
    pub(crate) fn client(plan: Plan, greeted: bool) -> Self {
        Self {
            phase: if greeted {
                Phase::Greeting
            } else {
                Phase::Body
            },
            head: Vec::new(),
            pattern: Pattern::new(plan.seed, Direction::Down),
            expected: plan.down,
            may_be_cut: plan.kind.aborts(),
            plan: Some(plan),
            progress: Progress::default(),
        }
    }

    /// Of a server, which learns the plan from the header.
    pub(crate) fn server() -> Self {
        Self {
            phase: Phase::Header,
            head: Vec::new(),
            pattern: Pattern::new(0, Direction::Up),
            plan: None,
            expected: 0,
            may_be_cut: false,
            progress: Progress::default(),
        }
    }

    /// True where the plan lets the other end cut the stream.
    pub(crate) const fn may_be_cut(&self) -> bool {
        self.may_be_cut
    }

    /// What the body should have in all, bytes.
    pub(crate) const fn expected(&self) -> u64 {
        self.expected
    }

    /// One `read` of at most `limit` bytes, checked.
    pub(crate) fn read(
        &mut self,
        from: &mut impl Read,
        buffer: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Read1, Fault> {
        buffer.resize(limit, 0);
        match from.read(buffer) {
            Ok(0) => self.end().map(|()| Read1::Ended),
            Ok(n) => self.feed(&buffer[..n], scratch).map(|()| Read1::Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read1::WouldBlock),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Read1::Some),
            Err(error) if self.may_be_cut && is_reset(&error) => {
                self.progress.ended = true;
                Ok(Read1::Ended)
            }
            Err(error) => Err(Fault::Io {
                call: "recv",
                error,
            }),
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.progress.ended = true;
        let got = self.progress.received;
        let whole = self.phase == Phase::Body && got == self.expected;
        if whole || self.may_be_cut {
            return Ok(());
        }
        let want = if self.phase == Phase::Body {
            self.expected
        } else {
            HEADER as u64
        };
        Err(Fault::Short {
            got: if self.phase == Phase::Body { got } else { 0 },
            want,
        })
    }

    fn feed(&mut self, mut bytes: &[u8], scratch: &mut Vec<u8>) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match self.phase {
                Phase::Body => return self.body(bytes, scratch),
                Phase::Header => {
                    self.take(&mut bytes, HEADER);
                    if let Ok(head) = <&[u8; HEADER]>::try_from(self.head.as_slice()) {
                        let Some(plan) = Plan::from_bytes(head) else {
                            return Err(Fault::Header(self.head.clone()));
                        };
                        self.pattern = Pattern::new(plan.seed, Direction::Up);
                        self.expected = plan.up;
                        self.may_be_cut = plan.kind.aborts();
                        self.plan = Some(plan);
                        self.phase = Phase::Body;
                    }
                }
                Phase::Greeting => {
                    self.take(&mut bytes, GREETING_HEAD + GREETING_BODY);
                    if self.head.len() == GREETING_HEAD + GREETING_BODY {
                        let seed = self.head[8..GREETING_HEAD]
                            .try_into()
                            .map_or(0, u64::from_le_bytes);
                        if self.head != greeting(seed) {
                            return Err(Fault::Header(self.head.clone()));
                        }
                        self.progress.greeting = Some(seed);
                        self.phase = Phase::Body;
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves bytes into `head` until it holds `size`.
    fn take(&mut self, bytes: &mut &[u8], size: usize) {
        let (now, rest) = bytes.split_at(bytes.len().min(size - self.head.len()));
        self.head.extend_from_slice(now);
        *bytes = rest;
    }

    fn body(&mut self, bytes: &[u8], scratch: &mut Vec<u8>) -> Result<(), Fault> {
        let left = self.expected - self.progress.received;
        let within = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        self.pattern
            .check(&bytes[..within], scratch)
            .map_err(Fault::Wrong)?;
        self.progress.received += within as u64;
        match bytes.len() - within {
            0 => Ok(()),
            extra => Err(Fault::Extra(extra)),
        }
    }
}

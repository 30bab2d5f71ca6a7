//! The kernel's part, as far as the rules depend on it.
//!
//! One direction: what a send does is decided by [`direction`]; redirected messages go
//! into the reader's own queue at once (`bpf_tcp_ingress`), TCP's bytes go on their way,
//! arrive as far as the reader's buffer has room, and are acknowledged later. A reader takes
//! redirected bytes first; where there are none and TCP's queue is not empty it enters
//! `tcp_recvmsg`, holds the socket, and looks at TCP's queue only until it returns
//! (`net/ipv4/tcp_bpf.c` `tcp_bpf_recvmsg`).

use std::collections::VecDeque;

use sockway_common::counters::Reason;
use sockway_common::direction::{self, Step};
use sockway_common::flow::{Ends, MAX_BACKOFF, MESSAGE_COST};
use sockway_common::state::{SockState, mode};

/// `SO_SNDBUF` of a sender, bytes.
const SNDBUF: u32 = 256 << 10;
/// Close to the end of the sequence space, so that it wraps.
const FIRST: u32 = u32::MAX - 50_000;

/// One event; the number names the direction by its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// The sender can find its peer from now on.
    PeerKnown(usize),
    /// A send of so many bytes.
    Send(usize, u32),
    /// So many segments arrive at the reader.
    Arrive(usize, usize),
    /// What arrived is acknowledged.
    Acknowledge(usize),
    /// A reader's call begins: at most so many bytes are taken, if they are redirected ones.
    Enter(usize, u32),
    /// A reader inside `tcp_recvmsg` copies at most so many bytes.
    Copy(usize, u32),
    /// It returns.
    Return(usize),
    /// Everything arrives and is acknowledged, and a reader inside a call copies it.
    Deliver(usize),
    /// A reader reads until nothing is there.
    ReadAll(usize),
    /// The sender shuts its direction down.
    Finish(usize),
}

/// What the programs are told of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// What is so.
    Truth,
    /// That everything sent has been acknowledged.
    NothingInFlight,
    /// That everything that arrived has been read.
    NothingUnread,
    /// That no reader is inside a call.
    NobodyReads,
    /// That the redirected queue is empty.
    NothingParked,
    /// Nothing: a kernel without the fields.
    Nothing,
}

/// Bytes of the stream: where they begin, and how many.
type Part = (u64, u32);

/// One direction.
#[derive(Debug)]
struct Direction {
    state: SockState,
    told: Told,
    limit: u32,
    buffer: u32,
    /// Redirected bytes are charged to the buffer (kernel 6.13 and later).
    charges: bool,
    peer_known: bool,
    sent: u64,
    read: u64,
    write_seq: u32,
    snd_una: u32,
    rcv_nxt: u32,
    copied_seq: u32,
    flight: VecDeque<Part>,
    arrived: VecDeque<Part>,
    parked: VecDeque<Part>,
    inside: bool,
    end: End,
}

/// How far the end of a direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// The sender may send.
    Open,
    /// It shut its direction down.
    Sent,
    /// The FIN is in the reader's queue.
    Arrived,
    /// The reader has seen it.
    Seen,
}

/// Both directions.
#[derive(Debug)]
pub(crate) struct World {
    directions: [Direction; 2],
}

impl World {
    pub(crate) fn new(told: Told, limit: u32, buffer: u32, charges: bool) -> Self {
        let direction = || Direction {
            state: SockState::default(),
            told,
            limit,
            buffer,
            charges,
            peer_known: false,
            sent: 0,
            read: 0,
            write_seq: FIRST,
            snd_una: FIRST,
            rcv_nxt: FIRST,
            copied_seq: FIRST,
            flight: VecDeque::new(),
            arrived: VecDeque::new(),
            parked: VecDeque::new(),
            inside: false,
            end: End::Open,
        };
        Self {
            directions: [direction(), direction()],
        }
    }

    pub(crate) fn apply(&mut self, event: Event) -> Result<(), String> {
        let (Event::PeerKnown(at)
        | Event::Send(at, _)
        | Event::Arrive(at, _)
        | Event::Acknowledge(at)
        | Event::Enter(at, _)
        | Event::Copy(at, _)
        | Event::Return(at)
        | Event::Deliver(at)
        | Event::ReadAll(at)
        | Event::Finish(at)) = event;
        let one = &mut self.directions[at];
        match event {
            Event::PeerKnown(_) => one.peer_known = true,
            Event::Send(_, size) => return one.send(size),
            Event::Arrive(_, segments) => one.arrive(segments),
            Event::Acknowledge(_) => one.snd_una = one.rcv_nxt,
            Event::Enter(_, size) => return one.enter(size),
            Event::Copy(_, size) => return one.copy(size),
            Event::Return(_) => one.inside = false,
            Event::Deliver(_) => return one.deliver(),
            Event::ReadAll(_) => return one.read_all(),
            Event::Finish(_) => one.finish(),
        }
        Ok(())
    }

    /// Lets everything arrive and be read: nothing may be missing, and a direction
    /// that is open comes back to redirection.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        for one in &mut self.directions {
            one.settle()?;
            one.comes_back()?;
            one.finish();
            one.settle()?;
            if one.end != End::Seen {
                return Err("the end was never seen".to_owned());
            }
        }
        Ok(())
    }
}

fn bytes(parts: &VecDeque<Part>) -> u32 {
    parts.iter().map(|(_, len)| len).sum()
}

/// Takes at most `size` bytes off the front.
fn take(parts: &mut VecDeque<Part>, size: u32) -> Option<Part> {
    let (start, len) = parts.front_mut()?;
    let taken = (*start, size.min(*len));
    *start += u64::from(taken.1);
    *len -= taken.1;
    if *len == 0 {
        parts.pop_front();
    }
    Some(taken)
}

impl Direction {
    /// `sk_rmem_alloc` of the reader.
    fn rmem(&self) -> u32 {
        let parked = if self.charges { bytes(&self.parked) } else { 0 };
        bytes(&self.arrived) + parked
    }

    fn ends(&self) -> Option<Ends> {
        let mut ends = Ends {
            snd_una: self.snd_una,
            write_seq: self.write_seq,
            copied_seq: self.copied_seq,
            rcv_nxt: self.rcv_nxt,
            owned: u32::from(self.inside),
        };
        match self.told {
            Told::NothingInFlight => ends.snd_una = ends.write_seq,
            Told::NothingUnread => ends.copied_seq = ends.rcv_nxt,
            Told::NobodyReads => ends.owned = 0,
            Told::Nothing => return None,
            Told::Truth | Told::NothingParked => {}
        }
        Some(ends)
    }

    /// As `sk_msg` decides, by the same functions.
    fn is_redirected(&mut self, size: u32) -> bool {
        match direction::step(&mut self.state, size) {
            Step::Tcp => return false,
            Step::Redirect => {}
            Step::Look => {
                let looked = if !self.peer_known {
                    Err((Reason::NoPeer, false))
                } else if direction::is_first(&self.state) {
                    Ok(())
                } else {
                    direction::order(self.ends())
                };
                if let Err((_, always)) = looked {
                    direction::stay(&mut self.state, always);
                    return false;
                }
                direction::begin(&mut self.state);
            }
        }
        if !direction::has_credit(&self.state, size) {
            let (parked, buffer) = match self.told {
                Told::NothingParked => (0, (self.buffer, 0)),
                _ => (bytes(&self.parked), (self.buffer, self.rmem())),
            };
            let (renewed, always) = if self.told == Told::Nothing {
                let renewed = direction::renew_blind(&mut self.state, self.limit);
                (renewed, true)
            } else {
                let state = &mut self.state;
                (
                    direction::renew(state, parked, buffer, self.limit, size),
                    false,
                )
            };
            if !renewed {
                direction::leave(&mut self.state, always);
                return false;
            }
        }
        direction::spend(&mut self.state, size);
        direction::redirected(&mut self.state, size);
        true
    }

    fn send(&mut self, size: u32) -> Result<(), String> {
        if self.end != End::Open {
            return Ok(());
        }
        if self.is_redirected(size) {
            self.parked.push_back((self.sent, size));
            self.sent += u64::from(size);
            return self.is_bounded(size);
        }
        // What does not fit waits with the application.
        let room = SNDBUF.saturating_sub(self.write_seq.wrapping_sub(self.snd_una));
        let size = size.min(room);
        if size > 0 {
            self.flight.push_back((self.sent, size));
            self.sent += u64::from(size);
            self.write_seq = self.write_seq.wrapping_add(size);
        }
        Ok(())
    }

    fn is_bounded(&self, size: u32) -> Result<(), String> {
        let messages = self.parked.len() as u64;
        let cost = u64::from(bytes(&self.parked)) + messages * u64::from(MESSAGE_COST);
        // A blind credit is one total, which a single large message may exceed.
        let limit = match self.told {
            Told::Nothing => self.limit.max(size + MESSAGE_COST),
            _ => self.limit,
        };
        if cost > u64::from(limit) {
            return Err(format!("{cost} bytes are parked, the limit is {limit}"));
        }
        let (rmem, buffer) = (self.rmem(), self.buffer);
        if self.told != Told::Nothing && self.charges && rmem > buffer {
            return Err(format!("{rmem} bytes are parked in a buffer of {buffer}"));
        }
        Ok(())
    }

    fn arrive(&mut self, segments: usize) {
        for _ in 0..segments {
            let room = self.buffer.saturating_sub(self.rmem());
            if room == 0 {
                return;
            }
            let Some(part) = take(&mut self.flight, room) else {
                if self.end == End::Sent {
                    self.end = End::Arrived;
                    self.rcv_nxt = self.rcv_nxt.wrapping_add(1);
                }
                return;
            };
            self.rcv_nxt = self.rcv_nxt.wrapping_add(part.1);
            self.arrived.push_back(part);
        }
    }

    fn is_next(&mut self, (start, len): Part) -> Result<(), String> {
        if start != self.read {
            return Err(format!("byte {start} was read before byte {}", self.read));
        }
        self.read += u64::from(len);
        Ok(())
    }

    fn enter(&mut self, size: u32) -> Result<(), String> {
        if self.inside || self.end == End::Seen {
            return Ok(());
        }
        if let Some(part) = take(&mut self.parked, size) {
            return self.is_next(part);
        }
        if !self.arrived.is_empty() {
            self.inside = true;
        } else if self.end == End::Arrived {
            self.end = End::Seen;
            self.copied_seq = self.copied_seq.wrapping_add(1);
            if self.read != self.sent {
                return Err(format!(
                    "{} of {} bytes were lost",
                    self.sent - self.read,
                    self.sent
                ));
            }
        }
        Ok(())
    }

    fn copy(&mut self, size: u32) -> Result<(), String> {
        if !self.inside {
            return Ok(());
        }
        let Some(part) = take(&mut self.arrived, size) else {
            return Ok(());
        };
        self.copied_seq = self.copied_seq.wrapping_add(part.1);
        self.is_next(part)
    }

    fn deliver(&mut self) -> Result<(), String> {
        self.arrive(usize::MAX);
        self.snd_una = self.rcv_nxt;
        while self.inside && !self.arrived.is_empty() {
            self.copy(u32::MAX)?;
        }
        Ok(())
    }

    fn read_all(&mut self) -> Result<(), String> {
        loop {
            let before = (self.read, self.end, self.inside);
            self.enter(u32::MAX)?;
            while self.inside && !self.arrived.is_empty() {
                self.copy(u32::MAX)?;
            }
            self.inside = false;
            if before == (self.read, self.end, false) {
                return Ok(());
            }
        }
    }

    fn finish(&mut self) {
        if self.end == End::Open {
            self.end = End::Sent;
            self.write_seq = self.write_seq.wrapping_add(1);
        }
    }

    /// Everything arrives, is read and acknowledged.
    fn settle(&mut self) -> Result<(), String> {
        loop {
            let before = (self.read, self.end);
            self.deliver()?;
            self.read_all()?;
            if before == (self.read, self.end) {
                break;
            }
        }
        if self.read != self.sent {
            return Err(format!(
                "{} of {} bytes were lost",
                self.sent - self.read,
                self.sent
            ));
        }
        Ok(())
    }

    /// A direction whose bytes are all read comes back to redirection after some sends.
    fn comes_back(&mut self) -> Result<(), String> {
        if self.end != End::Open || self.told == Told::Nothing {
            return Ok(());
        }
        self.peer_known = true;
        for _ in 0..=MAX_BACKOFF + 1 {
            self.send(1)?;
            self.settle()?;
            if self.state.mode == mode::REDIRECT {
                return Ok(());
            }
        }
        Err("everything was read, but the direction stays on TCP".to_owned())
    }
}

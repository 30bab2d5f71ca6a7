//! The kernel's part, as far as the rules depend on it.
//!
//! One direction: what a send does is decided by [`direction`] and [`policy`]; redirected messages
//! go into the reader's own queue (`bpf_tcp_ingress`), TCP's bytes go on their way, arrive as far as
//! the reader's buffer has room, and are acknowledged later. A reader in the sockhash takes
//! redirected bytes first; where there are none and TCP's queue is not empty it enters
//! `tcp_recvmsg`, holds the socket, and looks at TCP's queue only until it returns
//! (`net/ipv4/tcp_bpf.c` `tcp_bpf_recvmsg`). One whose call began before it came in looks at TCP's
//! queue only, however late it gets to the socket's lock.
//!
//! A sender that has decided to redirect lets its socket go before it puts the bytes into the other
//! queue (`tcp_bpf_send_verdict`): between the two it is *in flight*, and holds a reference to its
//! own psock. A socket that leaves the sockhash takes what waits in its queue with it.

use std::collections::VecDeque;

use sockway_common::counters::Reason;
use sockway_common::direction::{self, Step};
use sockway_common::flow::{Ends, MAX_BACKOFF, MESSAGE_COST};
use sockway_common::policy;
use sockway_common::program::{FIT_READS, ProgramRow};
use sockway_common::scope;
use sockway_common::state::{SockState, mode};

/// `SO_SNDBUF` of a sender, bytes.
const SNDBUF: u32 = 256 << 10;
/// Close to the end of the sequence space, so that it wraps.
const FIRST: u32 = u32::MAX - 50_000;

/// One event. `Send` to `Finish` name a direction by its sender, the others an end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A send of so many bytes, from its beginning to its end.
    Send(usize, u32),
    /// A send of so many bytes as far as its program goes: a redirected one is in flight then.
    Decide(usize, u32),
    /// What is in flight comes into the reader's queue.
    Enqueue(usize),
    /// So many segments arrive at the reader.
    Arrive(usize, usize),
    /// What arrived is acknowledged.
    Acknowledge(usize),
    /// A reader's call begins, by the way of the sockhash if it is in there.
    Call(usize),
    /// It gets to the socket's lock: at most so many bytes are taken, if they are redirected ones.
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
    /// The end learns who the other one is.
    PeerKnown(usize),
    /// Enough of its program was seen: bytes may be redirected to it.
    Prove(usize),
    /// It comes in, closed.
    Join(usize),
    /// Somebody looks whether it rests, and opens it if so.
    Open(usize),
    /// It is to leave: nobody may redirect to it any more.
    Close(usize),
    /// Somebody looks whether it may leave.
    Check(usize),
    /// It leaves, if that was said.
    Delete(usize),
    /// All that has to happen for bytes to be redirected to it.
    ComeIn(usize),
    /// All that has to happen for it to leave, if it may.
    Leave(usize),
}

/// What the programs, or who brings ends in and out, are told of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// What is so.
    Truth,
    /// That everything sent has arrived.
    NothingInFlight,
    /// That everything that arrived has been read.
    NothingUnread,
    /// That no reader is inside a call.
    NobodyReads,
    /// That the redirected queue is empty.
    NothingParked,
    /// That who came in rests.
    EverybodyRests,
    /// That no sender is in flight when an end leaves.
    NobodySends,
    /// That the redirected queue is empty when an end leaves.
    NothingLeft,
    /// That an end that left and came back was in all the time.
    NobodyLeft,
    /// Nothing: a kernel without the fields.
    Nothing,
}

/// Bytes of the stream: where they begin, and how many.
type Part = (u64, u32);

/// A reader's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// It began while the socket was in the sockhash, and has not looked yet.
    New,
    /// It began while the socket was not, and has not got the lock yet.
    Old,
    /// It holds the socket, inside `tcp_recvmsg`.
    Inside {
        /// It came there by [`Call::Old`].
        old: bool,
    },
}

/// One end, as far as both directions ask: its row, and the memory of who lets it in and out.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one step's outcome, and all combinations are searched"
)]
#[derive(Clone, Copy, Debug, Default)]
struct Member {
    /// The end knows the other one.
    peer_known: bool,
    /// In the sockhash.
    joined: bool,
    open: bool,
    leaves: bool,
    /// How often it came in late, cut off.
    joins: u8,
    known: ProgramRow,
    /// It was said that it may leave.
    may_go: bool,
}

/// One direction.
#[derive(Debug)]
struct Direction {
    state: SockState,
    told: Told,
    limit: u32,
    buffer: u32,
    /// Redirected bytes are charged to the buffer (kernel 6.13 and later).
    charges: bool,
    sent: u64,
    read: u64,
    write_seq: u32,
    snd_una: u32,
    rcv_nxt: u32,
    copied_seq: u32,
    flight: VecDeque<Part>,
    arrived: VecDeque<Part>,
    parked: VecDeque<Part>,
    /// Redirected, not enqueued yet.
    in_flight: Option<Part>,
    call: Option<Call>,
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

/// Both directions, and both ends.
#[derive(Debug)]
pub(crate) struct World {
    directions: [Direction; 2],
    ends: [Member; 2],
    epoch: u32,
}

/// How a run begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Bytes of the readers' buffers.
    pub(crate) buffer: u32,
    /// Whether the kernel charges redirected bytes to them.
    pub(crate) charges: bool,
    /// Which ends come in when they are established.
    pub(crate) joined: [bool; 2],
    /// Whose programs are proven by then.
    pub(crate) proven: [bool; 2],
}

impl World {
    pub(crate) fn new(told: Told, limit: u32, start: Start) -> Self {
        let direction = |joined: bool| Direction {
            state: SockState {
                // As `establish` does.
                mode: if joined { mode::UNDECIDED } else { mode::TCP },
                ..SockState::default()
            },
            told,
            limit,
            buffer: start.buffer,
            charges: start.charges,
            sent: 0,
            read: 0,
            write_seq: FIRST,
            snd_una: FIRST,
            rcv_nxt: FIRST,
            copied_seq: FIRST,
            flight: VecDeque::new(),
            arrived: VecDeque::new(),
            parked: VecDeque::new(),
            in_flight: None,
            call: None,
            end: End::Open,
        };
        let member = |at: usize| {
            let mut member = Member {
                joined: start.joined[at],
                open: start.joined[at],
                ..Member::default()
            };
            if start.proven[at] {
                member.known.reads = FIT_READS;
            }
            member
        };
        Self {
            directions: start.joined.map(direction),
            ends: [member(0), member(1)],
            epoch: 0,
        }
    }

    pub(crate) fn apply(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Send(at, size) => {
                self.decide(at, size)?;
                return self.enqueue(at);
            }
            Event::Decide(at, size) => return self.decide(at, size),
            Event::Enqueue(at) => return self.enqueue(at),
            Event::Arrive(at, segments) => self.directions[at].arrive(segments),
            Event::Acknowledge(at) => self.directions[at].acknowledge(),
            Event::Call(at) => self.call(at),
            Event::Enter(at, size) => {
                self.call(at);
                return self.directions[at].enter(size);
            }
            Event::Copy(at, size) => return self.directions[at].copy(size),
            Event::Return(at) => self.directions[at].leave_call(),
            Event::Deliver(at) => return self.directions[at].deliver(),
            Event::ReadAll(at) => return self.read_all(at),
            Event::Finish(at) => self.directions[at].finish(),
            Event::PeerKnown(end) => {
                self.ends[end].peer_known = true;
                self.epoch += 1;
            }
            Event::Prove(end) => {
                self.ends[end].known.reads = FIT_READS;
                self.epoch += 1;
            }
            Event::Join(end) => self.join(end),
            Event::Open(end) => self.open(end),
            Event::Close(end) => self.close(end),
            Event::Check(end) => self.check(end),
            Event::Delete(end) => self.delete(end),
            Event::ComeIn(end) => {
                self.apply(Event::PeerKnown(1 - end))?;
                self.apply(Event::Prove(end))?;
                self.join(end);
                self.open(end);
            }
            Event::Leave(end) => {
                self.close(end);
                self.check(end);
                self.delete(end);
            }
        }
        Ok(())
    }

    /// Lets everything arrive and be read: nothing may be missing, who is to leave can, and a
    /// direction that is open comes back to redirection.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        for at in 0..2 {
            self.settle(at)?;
        }
        for end in 0..2 {
            self.leaves(end)?;
            // What it sends while it is out.
            self.apply(Event::Send(end, 1))?;
            self.comes_in(end)?;
        }
        for at in 0..2 {
            // Before it is read.
            self.apply(Event::Send(at, 1))?;
            self.settle(at)?;
            self.comes_back(at)?;
            self.directions[at].finish();
            self.settle(at)?;
            if self.directions[at].end != End::Seen {
                return Err("the end was never seen".to_owned());
            }
        }
        Ok(())
    }

    /// `tcp_sendmsg`, or `tcp_bpf_sendmsg` as far as the program's verdict.
    fn decide(&mut self, at: usize, size: u32) -> Result<(), String> {
        let one = &mut self.directions[at];
        // One thread sends.
        if one.end != End::Open || one.in_flight.is_some() {
            return Ok(());
        }
        if self.ends[at].joined && self.is_redirected(at, size) {
            let one = &mut self.directions[at];
            one.in_flight = Some((one.sent, size));
            one.sent += u64::from(size);
            return one.is_bounded(size);
        }
        self.directions[at].by_tcp(size);
        Ok(())
    }

    /// As `sk_msg` decides, by the same functions and in the same order.
    fn is_redirected(&mut self, at: usize, size: u32) -> bool {
        let (own, other, epoch) = (self.ends[at], self.ends[1 - at], self.epoch);
        let one = &mut self.directions[at];
        let changed = one.state.epoch != epoch;
        if changed {
            let joins = if one.told == Told::NobodyLeft {
                one.state.joins
            } else {
                own.joins
            };
            direction::look_again(&mut one.state, joins);
        }
        match direction::step(&mut one.state, size) {
            Step::Tcp => return false,
            Step::Redirect => {}
            Step::Look => {
                let looked = one.look(own, other, epoch).and_then(|()| {
                    if direction::is_first(&one.state) {
                        Ok(())
                    } else {
                        direction::order(one.ends())
                    }
                });
                if let Err((_, always)) = looked {
                    direction::stay(&mut one.state, always);
                    return false;
                }
                direction::begin(&mut one.state, 0);
            }
        }
        if !direction::has_credit(&one.state, size) && !one.renew(own, other, epoch, size) {
            return false;
        }
        direction::spend(&mut one.state, size);
        if !other.joined {
            direction::leave(&mut one.state, false);
            return false;
        }
        direction::redirected(&mut one.state, size);
        true
    }

    /// `bpf_tcp_ingress`.
    fn enqueue(&mut self, at: usize) -> Result<(), String> {
        let Some(part) = self.directions[at].in_flight.take() else {
            return Ok(());
        };
        if !self.ends[1 - at].joined {
            return Err(format!("{} bytes were lost: the reader has left", part.1));
        }
        self.directions[at].parked.push_back(part);
        Ok(())
    }

    fn call(&mut self, at: usize) {
        let joined = self.ends[1 - at].joined;
        let one = &mut self.directions[at];
        if one.call.is_none() && one.end != End::Seen {
            one.call = Some(if joined { Call::New } else { Call::Old });
        }
    }

    fn read_all(&mut self, at: usize) -> Result<(), String> {
        loop {
            let one = &self.directions[at];
            let before = (one.read, one.end, one.call.is_some());
            self.call(at);
            let one = &mut self.directions[at];
            one.enter(u32::MAX)?;
            one.copy_all()?;
            one.leave_call();
            if before == (one.read, one.end, false) {
                return Ok(());
            }
        }
    }

    fn join(&mut self, end: usize) {
        let one = &mut self.ends[end];
        if one.joined {
            return;
        }
        one.joins = one.joins.wrapping_add(1);
        one.joined = true;
        one.open = false;
        self.epoch += 1;
    }

    /// Opens an end of which no call that began before is under way.
    fn open(&mut self, end: usize) {
        let reads = &self.directions[1 - end];
        let rests = !matches!(reads.call, Some(Call::Old | Call::Inside { old: true }));
        let one = &mut self.ends[end];
        if one.joined && !one.leaves && (rests || reads.told == Told::EverybodyRests) {
            one.open = true;
            self.epoch += 1;
        }
    }

    fn close(&mut self, end: usize) {
        let one = &mut self.ends[end];
        if !one.joined {
            return;
        }
        one.leaves = true;
        one.open = false;
        one.may_go = false;
        self.epoch += 1;
    }

    /// As `sockway_late` looks: first the sender, whose later calls find the end closed, then the
    /// reader's queue.
    fn check(&mut self, end: usize) {
        let reads = &self.directions[1 - end];
        let sender_rests = reads.in_flight.is_none() || reads.told == Told::NobodySends;
        let empty = reads.parked.is_empty() || reads.told == Told::NothingLeft;
        let one = &mut self.ends[end];
        one.may_go = one.joined && one.leaves && sender_rests && empty;
    }

    fn delete(&mut self, end: usize) {
        let one = &mut self.ends[end];
        if !one.may_go {
            return;
        }
        *one = Member {
            joined: false,
            open: false,
            leaves: false,
            may_go: false,
            ..*one
        };
        self.directions[1 - end].parked.clear();
        self.epoch += 1;
    }

    /// What waits for the sender's and the reader's own doing is done.
    fn settle(&mut self, at: usize) -> Result<(), String> {
        self.enqueue(at)?;
        loop {
            let one = &self.directions[at];
            let before = (one.read, one.end);
            self.directions[at].deliver()?;
            self.read_all(at)?;
            let one = &self.directions[at];
            if before == (one.read, one.end) {
                return one.is_complete();
            }
        }
    }

    /// An end whose queue is empty may leave, whatever happened before.
    fn leaves(&mut self, end: usize) -> Result<(), String> {
        if !self.ends[end].joined {
            return Ok(());
        }
        self.apply(Event::Leave(end))?;
        if self.ends[end].joined {
            return Err("an end at rest cannot leave".to_owned());
        }
        Ok(())
    }

    fn comes_in(&mut self, end: usize) -> Result<(), String> {
        self.apply(Event::ComeIn(end))?;
        if !self.ends[end].open {
            return Err("an end at rest cannot be opened".to_owned());
        }
        Ok(())
    }

    /// A direction whose bytes are all read comes back to redirection after some sends.
    fn comes_back(&mut self, at: usize) -> Result<(), String> {
        let one = &self.directions[at];
        if one.end != End::Open || one.told == Told::Nothing {
            return Ok(());
        }
        for _ in 0..=MAX_BACKOFF + 1 {
            self.apply(Event::Send(at, 1))?;
            self.settle(at)?;
            if self.directions[at].state.mode == mode::REDIRECT {
                return Ok(());
            }
        }
        Err("everything was read, but the direction stays on TCP".to_owned())
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

    /// As the program looks at the other end.
    fn look(&mut self, own: Member, other: Member, epoch: u32) -> Result<(), (Reason, bool)> {
        self.state.epoch = epoch;
        let verdict = if !own.peer_known {
            Err(Reason::NoPeer)
        } else if !other.joined {
            Err(Reason::Observed)
        } else if other.leaves || !other.open {
            Err(Reason::Closed)
        } else {
            policy::be_redirected_to(scope::AUTO, &other.known)
        };
        verdict.map_err(|reason| (reason, false))
    }

    fn ends(&self) -> Option<Ends> {
        let mut ends = Ends {
            snd_una: self.snd_una,
            write_seq: self.write_seq,
            copied_seq: self.copied_seq,
            rcv_nxt: self.rcv_nxt,
            owned: u32::from(matches!(self.call, Some(Call::Inside { .. }))),
        };
        match self.told {
            Told::NothingInFlight => ends.write_seq = ends.rcv_nxt,
            Told::NothingUnread => ends.copied_seq = ends.rcv_nxt,
            Told::NobodyReads => ends.owned = 0,
            Told::Nothing => return None,
            _ => {}
        }
        Some(ends)
    }

    /// Whether the reader can take a message; if not, the direction goes by TCP.
    fn renew(&mut self, own: Member, other: Member, epoch: u32, size: u32) -> bool {
        if self.state.epoch != epoch && self.look(own, other, epoch).is_err() {
            direction::leave(&mut self.state, false);
            return false;
        }
        let (parked, buffer) = match self.told {
            Told::NothingParked => (0, (self.buffer, 0)),
            _ => (bytes(&self.parked), (self.buffer, self.rmem())),
        };
        let state = &mut self.state;
        let (renewed, always) = if self.told == Told::Nothing {
            (direction::renew_blind(state, self.limit), true)
        } else {
            let renewed = direction::renew(state, parked, buffer, self.limit, size);
            (renewed, false)
        };
        if !renewed {
            direction::leave(state, always);
        }
        renewed
    }

    fn by_tcp(&mut self, size: u32) {
        // What does not fit waits with the application.
        let room = SNDBUF.saturating_sub(self.write_seq.wrapping_sub(self.snd_una));
        let size = size.min(room);
        if size > 0 {
            self.flight.push_back((self.sent, size));
            self.sent += u64::from(size);
            self.write_seq = self.write_seq.wrapping_add(size);
        }
    }

    /// With what is in flight.
    fn is_bounded(&self, size: u32) -> Result<(), String> {
        let flight = self.in_flight.map_or(0, |(_, len)| len);
        let messages = self.parked.len() as u64 + 1;
        let cost = u64::from(bytes(&self.parked) + flight) + messages * u64::from(MESSAGE_COST);
        // A blind credit is one total, which a single large message may exceed.
        let limit = match self.told {
            Told::Nothing => self.limit.max(size + MESSAGE_COST),
            _ => self.limit,
        };
        if cost > u64::from(limit) {
            return Err(format!("{cost} bytes are parked, the limit is {limit}"));
        }
        let (rmem, buffer) = (self.rmem() + flight, self.buffer);
        if self.told != Told::Nothing && self.charges && rmem > buffer {
            return Err(format!("{rmem} bytes are parked in a buffer of {buffer}"));
        }
        Ok(())
    }

    fn acknowledge(&mut self) {
        self.snd_una = self.rcv_nxt;
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

    /// The reader's call gets to the socket.
    fn enter(&mut self, size: u32) -> Result<(), String> {
        let old = match self.call {
            None | Some(Call::Inside { .. }) => return Ok(()),
            Some(call) => call == Call::Old,
        };
        if !old && let Some(part) = take(&mut self.parked, size) {
            self.call = None;
            return self.is_next(part);
        }
        if !self.arrived.is_empty() {
            self.call = Some(Call::Inside { old });
            return Ok(());
        }
        self.call = None;
        if self.end == End::Arrived {
            self.end = End::Seen;
            self.copied_seq = self.copied_seq.wrapping_add(1);
            return self.is_complete();
        }
        Ok(())
    }

    fn is_complete(&self) -> Result<(), String> {
        if self.read == self.sent {
            return Ok(());
        }
        Err(format!(
            "{} of {} bytes were lost",
            self.sent - self.read,
            self.sent
        ))
    }

    fn copy(&mut self, size: u32) -> Result<(), String> {
        if !matches!(self.call, Some(Call::Inside { .. })) {
            return Ok(());
        }
        let Some(part) = take(&mut self.arrived, size) else {
            return Ok(());
        };
        self.copied_seq = self.copied_seq.wrapping_add(part.1);
        self.is_next(part)
    }

    fn copy_all(&mut self) -> Result<(), String> {
        while matches!(self.call, Some(Call::Inside { .. })) && !self.arrived.is_empty() {
            self.copy(u32::MAX)?;
        }
        Ok(())
    }

    /// A call that has the socket returns.
    fn leave_call(&mut self) {
        if matches!(self.call, Some(Call::Inside { .. })) {
            self.call = None;
        }
    }

    fn deliver(&mut self) -> Result<(), String> {
        self.arrive(usize::MAX);
        self.acknowledge();
        self.copy_all()
    }

    fn finish(&mut self) {
        if self.end == End::Open && self.in_flight.is_none() {
            self.end = End::Sent;
            self.write_seq = self.write_seq.wrapping_add(1);
        }
    }
}

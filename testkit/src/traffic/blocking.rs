//! One end of a connection on a blocking socket: one thread reads, another writes.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::dial;
use super::end::{check_greeting, finish};
use super::fault::Fault;
use super::plan::Plan;
use super::rx::{Progress, Read1, Rx, greeting};
use super::script::Gate;
use super::tx::{Last, Status, Tx, open};

/// Bytes of one `recv` at most.
const READ_SIZE: usize = 64 * 1024;
/// Bytes of a thread's stack.
pub(crate) const STACK: usize = 256 * 1024;

/// A connection and what its two threads share.
pub(crate) struct Connection {
    stream: TcpStream,
    /// How far reading has come, and whether it is over.
    state: Mutex<(Progress, bool)>,
    changed: Condvar,
    moved: Mutex<Instant>,
    hung: AtomicBool,
}

/// How a connection went.
pub(crate) struct Outcome {
    /// The plan, where this end got to know it.
    pub(crate) plan: Option<Plan>,
    /// Bytes of bodies sent and received.
    pub(crate) moved: (u64, u64),
    /// What was wrong: its [`Fault::kind`], and in words.
    pub(crate) fault: Option<(&'static str, String)>,
    /// True where nothing moved for too long.
    pub(crate) hang: bool,
}

impl Connection {
    /// Takes a connected, blocking socket.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            state: Mutex::default(),
            changed: Condvar::new(),
            moved: Mutex::new(Instant::now()),
            hung: AtomicBool::new(false),
        }
    }

    /// Breaks the connection where nothing moved for longer than `limit`.
    pub(crate) fn break_if_stalled(&self, limit: Duration) {
        let moved = *self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        if moved.elapsed() > limit && !self.hung.swap(true, Ordering::Relaxed) {
            dial::unblock(&self.stream, std::net::Shutdown::Both);
        }
    }

    /// Plays the client's part.
    pub(crate) fn client(&self, plan: Plan, greeted: bool) -> Outcome {
        let tx = Tx::client(&plan, greeted);
        self.play(Rx::client(plan, greeted), tx)
    }

    /// Plays the server's part; `said`: seed of the greeting it says first, if any.
    pub(crate) fn server(&self, said: Option<u64>) -> Outcome {
        let mut rx = Rx::server();
        let mut tx = Tx::server(Vec::new());
        match self.prelude(said, &mut rx, &mut tx) {
            Ok(()) => self.play(rx, tx),
            Err(fault) => self.outcome(&rx, &tx, Some((fault.kind(), fault.to_string()))),
        }
    }

    /// A blocking server speaks first if it does, then reads the header.
    fn prelude(&self, said: Option<u64>, rx: &mut Rx, tx: &mut Tx) -> Result<(), Fault> {
        let mut socket = self;
        if let Some(seed) = said {
            let greeting = greeting(seed);
            socket.write_all(&greeting).map_err(|error| Fault::Io {
                call: "send",
                error,
            })?;
        }
        let (mut buffer, mut scratch) = (Vec::new(), Vec::new());
        while rx.plan.is_none() {
            if rx.read(&mut &self.stream, &mut buffer, &mut scratch, READ_SIZE)?
                == Read1::WouldBlock
            {
                return Err(spurious("recv"));
            }
            self.touch();
        }
        if let Some(plan) = &rx.plan {
            check_greeting(plan, said)?;
            tx.start(plan);
        }
        Ok(())
    }

    fn play(&self, mut rx: Rx, mut tx: Tx) -> Outcome {
        self.set(rx.progress, rx.progress.ended);
        let plan = rx.plan.clone();
        let cut = rx.may_be_cut();
        let fault = thread::scope(|scope| {
            let reader = thread::Builder::new().stack_size(STACK);
            let reader = match reader.spawn_scoped(scope, || self.read(&mut rx)) {
                Ok(reader) => reader,
                Err(error) => return Some(("thread", format!("cannot start a thread: {error}"))),
            };
            let written = self.write(&mut tx, plan.as_ref(), cut);
            let read = reader
                .join()
                .unwrap_or_else(|_| Err(Fault::Header(b"panic".to_vec())));
            match (written, read) {
                (Err(fault), _) | (Ok(Last::Shut), Err(fault)) => {
                    Some((fault.kind(), fault.to_string()))
                }
                // After a close or a reset of our own the reader may see anything.
                (Ok(_), _) => None,
            }
        });
        self.outcome(&rx, &tx, fault)
    }

    fn outcome(&self, rx: &Rx, tx: &Tx, fault: Option<(&'static str, String)>) -> Outcome {
        let hang = self.hung.load(Ordering::Relaxed);
        let (sent, received) = (tx.sent, rx.progress.received);
        let describe = |(kind, what): (&'static str, String)| {
            let (step, want, plan) = (tx.step(), rx.expected(), &rx.plan);
            let place = format!("sent {sent}, at {step}; received {received} of {want}");
            (kind, format!("{what}; {place}; {plan:?}"))
        };
        let fault = match fault {
            _ if hang => Some(("hang", "hang: nothing moved for too long".to_owned())),
            fault => fault,
        };
        Outcome {
            plan: rx.plan.clone(),
            moved: (sent, received),
            fault: fault.map(describe),
            hang,
        }
    }

    fn read(&self, rx: &mut Rx) -> Result<(), Fault> {
        let (mut buffer, mut scratch) = (Vec::new(), Vec::new());
        let result = loop {
            if rx.progress.ended {
                break Ok(());
            }
            match rx.read(&mut &self.stream, &mut buffer, &mut scratch, READ_SIZE) {
                Ok(Read1::WouldBlock) => break Err(spurious("recv")),
                Ok(Read1::Some | Read1::Ended) => self.set(rx.progress, false),
                Err(fault) => break Err(fault),
            }
        };
        self.set(rx.progress, true);
        result
    }

    fn write(&self, tx: &mut Tx, plan: Option<&Plan>, may_be_cut: bool) -> Result<Last, Fault> {
        let mut buffer = Vec::new();
        let mut progress = Progress::default();
        let result = loop {
            match tx.advance(&mut &*self, progress, plan, &mut buffer) {
                Ok(Status::Full) => break Err(spurious("send")),
                Ok(Status::Waiting(gate)) => {
                    progress = self.wait(gate);
                    if !open(gate, progress) {
                        // The reader met a fault, which says more.
                        break Ok(Last::Shut);
                    }
                }
                Ok(Status::Done(last)) => {
                    break finish(&self.stream, last, may_be_cut || progress.ended).map(|()| last);
                }
                Err(fault) => break Err(fault),
            }
        };
        if !matches!(result, Ok(Last::Shut)) {
            // Wakes the reader without telling the other end anything.
            dial::unblock(&self.stream, std::net::Shutdown::Read);
        }
        result
    }

    fn set(&self, progress: Progress, over: bool) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (progress, over);
        self.changed.notify_all();
        self.touch();
    }

    fn touch(&self) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until the gate is open or reading is over.
    fn wait(&self, gate: Gate) -> Progress {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !open(gate, state.0) && !state.1 {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.0
    }
}

impl Write for &Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (&self.stream).write(bytes);
        self.touch();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A blocking socket without a time-out said EAGAIN.
fn spurious(call: &'static str) -> Fault {
    Fault::Io {
        call,
        error: io::Error::from_raw_os_error(libc::EAGAIN),
    }
}

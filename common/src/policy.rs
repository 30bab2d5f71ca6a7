//! Who takes part: the one rule for both ends of every hop, whatever port, user or name stands there.
//!
//! For each *end*: may it be in the sockhash ([`come_in`])? For each *direction*: may bytes be
//! redirected to the end that reads ([`be_redirected_to`])? The programs ask where a connection
//! is established and where something changed, user space where connections come in late.

use crate::counters::Reason;
use crate::pair::hop;
use crate::program::{
    FIT_READS, ProgramRow, asks_no_length, has, is_of_such, is_proven, is_unfit, sign,
};
use crate::scope;

/// What the kernel says of an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Whether its file has `O_NONBLOCK`; `None`: it has no file yet (not accepted), or nobody can tell.
    pub nonblocking: Option<bool>,
    /// It has an upper-layer protocol (kTLS, MPTCP).
    pub ulp: bool,
    /// It has an option that only TCP's own queues serve, completions of `MSG_ZEROCOPY` among them.
    pub tcp_only: bool,
}

impl End {
    /// One that does not block and has nothing that keeps it out: what is left to ask is its program's.
    pub const FREE: Self = Self {
        nonblocking: Some(true),
        ulp: false,
        tcp_only: false,
    };
}

/// Values of [`crate::config::Config::fionread`]: how this kernel answers `FIONREAD` for bytes in
/// the TCP queue of a socket that is in a sockhash.
pub mod fionread {
    /// With their number.
    pub const RIGHT: u32 = 0;
    /// With 0 (6.6.128, 6.12.75, 6.18.14 and 6.19 on, until commit 04af4efde58a), and who asks is seen.
    pub const WRONG: u32 = 1;
    /// With 0, and it cannot be seen who asks: the kernel allows no fentry programs.
    pub const WRONG_UNSEEN: u32 = 2;
}

/// Whether a scope leaves a hop out.
#[inline(always)]
#[must_use]
pub const fn leaves_out(scope: u32, hop: u32) -> bool {
    scope == scope::OFF || (scope == scope::PROXY && hop != hop::INBOUND)
}

/// Whether an end may be in the sockhash, from where it sends by redirection.
///
/// A non-blocking socket there reads as TCP does while nothing is redirected *to* it
/// (`net/ipv4/tcp_bpf.c` `tcp_bpf_recvmsg`, 5.10 to 7.2), and may be asked for `FIONREAD` where the
/// kernel answers that rightly. Whether an end that was not accepted yet will block is known of its
/// program only. `whole`: what is known of all sockets of its executable, which matters where the
/// answer is wrong: an end that only sends never shows how it reads.
#[inline(always)]
pub const fn come_in(
    scope: u32,
    hop: u32,
    end: End,
    known: &ProgramRow,
    whole: &ProgramRow,
    fionread: u32,
) -> Result<(), Reason> {
    match by_program(scope, hop, end, known, fionread) {
        Ok(()) => Ok(()),
        Err(refusal) if refusal.unless_such && is_of_such(known, whole) => Ok(()),
        Err(refusal) => Err(refusal.reason),
    }
}

/// Why an end may not be in the sockhash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// As it is counted.
    pub reason: Reason,
    /// It may nevertheless where it is [`is_of_such`].
    pub unless_such: bool,
}

/// [`come_in`] before it is looked at what is known of the executable.
#[inline(always)]
pub const fn by_program(
    scope: u32,
    hop: u32,
    end: End,
    known: &ProgramRow,
    fionread: u32,
) -> Result<(), Refusal> {
    const fn no(reason: Reason, unless_such: bool) -> Result<(), Refusal> {
        Err(Refusal {
            reason,
            unless_such,
        })
    }
    if leaves_out(scope, hop) {
        return no(Reason::Scope, false);
    }
    if end.ulp {
        return no(Reason::Ulp, false);
    }
    if scope == scope::ALL {
        return Ok(());
    }
    match end.nonblocking {
        Some(false) => return no(Reason::Blocking, false),
        // It may block as soon as it is connected.
        _ if has(known, sign::BLOCKING) => return no(Reason::Blocking, false),
        None if !has(known, sign::NONBLOCKING) => return no(Reason::Observed, false),
        _ => {}
    }
    // It may ask for that as soon as it is accepted.
    if end.tcp_only || has(known, sign::URGENT) || has(known, sign::ZEROCOPY) {
        return no(Reason::Guarded, false);
    }
    match fionread {
        fionread::RIGHT => Ok(()),
        fionread::WRONG if asks_no_length(known) => Ok(()),
        fionread::WRONG_UNSEEN if is_proven(known) && asks_no_length(known) => Ok(()),
        _ if has(known, sign::FIONREAD) => no(Reason::Guarded, true),
        _ => no(Reason::Observed, true),
    }
}

/// Whether bytes may be redirected to an end of which this is known.
#[inline(always)]
pub const fn be_redirected_to(scope: u32, known: &ProgramRow) -> Result<(), Reason> {
    if scope == scope::ALL || is_proven(known) {
        Ok(())
    } else if has(known, sign::BLOCKING) {
        Err(Reason::Blocking)
    } else if is_unfit(known) {
        Err(Reason::Guarded)
    } else {
        Err(Reason::Observed)
    }
}

/// Whether no read that is still to come lets an end of the program in: signs stay, and who stopped short often is not
/// waited for. Then a [`Reason`] as u32, else [`u32::MAX`].
#[must_use]
#[inline(always)]
pub const fn settled(scope: u32, hop: u32, known: &ProgramRow, fionread: u32) -> u32 {
    match come_in(scope, hop, End::FREE, known, &ProgramRow::NOTHING, fionread) {
        Err(Reason::Observed) if !has(known, sign::SHORT) || has(known, sign::TO_END) => u32::MAX,
        Err(reason) => reason as u32,
        Ok(()) => u32::MAX,
    }
}

/// Whether an end that is not in the sockhash, for a reason of its own, stays out as far as can be seen: then there
/// is nothing for the other end there either, but the cost of its sends. `why`: a [`Reason`] as u32; `may`: what
/// [`come_in`] says of its program.
#[must_use]
#[inline(always)]
pub const fn stays_out(why: u32, known: &ProgramRow, may: bool) -> bool {
    // These may be of the socket itself; the read that shows it otherwise is told of.
    why == Reason::Blocking as u32
        || why == Reason::Guarded as u32
        || why == Reason::Ulp as u32
        || why == Reason::Scope as u32
        || why == Reason::Observed as u32
            && !may
            && known.reads.saturating_add(known.others) >= FIT_READS
}

#[cfg(test)]
mod tests;

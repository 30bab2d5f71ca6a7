//! How one direction of a connection goes between TCP and redirection: every change
//! that a send makes of its socket's [`SockState`], as functions of what the kernel
//! says. `common/tests` runs them through any order of events.

use crate::counters::Reason;
use crate::flow::{self, Ends, Reader};
use crate::state::{SockState, mode};

/// How a send starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The direction is redirected.
    Redirect,
    /// The direction is on TCP, and it is time to see whether it has to be.
    Look,
    /// By TCP.
    Tcp,
}

/// What a send of `size` bytes starts with. A direction that stays on TCP is looked
/// at again only after some sends, see [`stay`].
#[inline(always)]
#[must_use]
pub const fn step(state: &mut SockState, size: u32) -> Step {
    match state.mode {
        mode::REDIRECT => Step::Redirect,
        mode::TCP_ALWAYS => Step::Tcp,
        _ if state.skip > 0 => {
            state.skip = state.skip.saturating_sub(flow::skip_step(size));
            Step::Tcp
        }
        _ => Step::Look,
    }
}

/// Rule 1: whether a direction may be redirected from this send on. `ends`: what
/// the kernel says, `None` where it cannot be asked. An error says why not, and
/// whether for ever.
#[inline(always)]
pub const fn order(ends: Option<Ends>) -> Result<(), (Reason, bool)> {
    match ends {
        // Something between the ends rewrites the numbers (a NAT helper of conntrack does): they say nothing.
        Some(ends) if !flow::is_one_connection(ends.snd_una, ends.write_seq, ends.rcv_nxt) => {
            Err((Reason::Order, true))
        }
        Some(ends) if flow::drained(&ends) => Ok(()),
        Some(_) => Err((Reason::Order, false)),
        // The first send decided for ever.
        None => Err((Reason::Order, true)),
    }
}

/// True before the direction's first byte.
#[inline(always)]
#[must_use]
pub const fn is_first(state: &SockState) -> bool {
    state.mode == mode::UNDECIDED
}

/// The direction is redirected from here on, once there is credit; `now`: seconds since the
/// machine started.
#[inline(always)]
pub const fn begin(state: &mut SockState, now: u32) {
    state.mode = mode::REDIRECT;
    state.begun = now;
    state.credit = 0;
    state.backoff = 0;
    // Else messages wait that were redirected before it went by TCP, or was about to.
    if state.unread_messages == 0 {
        state.smallest = u32::MAX;
    }
}

/// The direction goes by TCP from here on; `always`: until the connection ends.
#[inline(always)]
pub const fn leave(state: &mut SockState, always: bool) {
    state.mode = if always { mode::TCP_ALWAYS } else { mode::TCP };
}

/// After a look in vain: the next one comes later each time.
#[inline(always)]
pub const fn stay(state: &mut SockState, always: bool) {
    leave(state, always);
    state.backoff = flow::next_backoff(state.backoff);
    state.skip = state.backoff;
}

/// A reader is looked at again after so many timer ticks (1 to 10 ms each), whatever credit is
/// left: a connection that is hardly used would otherwise rely on a look of long ago.
pub const LOOK_TICKS: u64 = 16;

/// Whether the credit is enough for a message; where it is not, the reader is looked at.
#[inline(always)]
#[must_use]
pub const fn has_credit(state: &SockState, size: u32) -> bool {
    state.credit >= flow::charge(size)
}

/// Rule 2: new credit for at least this message, or false where the reader is too
/// far behind. `bytes`: of its redirected queue, where it holds too many messages to
/// be summed up at most [`SockState::unread_bytes`]; `rcvbuf`, `rmem`: of [`Reader`].
#[inline(always)]
#[must_use]
pub const fn renew(
    state: &mut SockState,
    bytes: u32,
    (rcvbuf, rmem): (u32, u32),
    limit: u32,
    size: u32,
) -> bool {
    let cost = flow::backlog_cost(bytes, state.unread_messages, state.smallest);
    if bytes == 0 {
        state.unread_messages = 0;
        state.unread_bytes = 0;
        state.smallest = u32::MAX;
    }
    match flow::credit(&Reader { cost, rcvbuf, rmem }, limit, size) {
        Some(credit) => {
            state.credit = credit;
            true
        }
        None => false,
    }
}

/// Something changed that the direction depends on: this send looks at it in full, and the next ones soon
/// where that is in vain. `joins`: how often the sender came in late ([`crate::end::EndRow::joins`]). What it
/// sent while it was out went by TCP, unseen.
#[inline(always)]
pub const fn look_again(state: &mut SockState, joins: u8) {
    state.credit = 0;
    state.skip = 0;
    state.backoff = 0;
    if state.joins != joins {
        state.joins = joins;
        leave(state, state.mode == mode::TCP_ALWAYS);
    }
}

/// Whether one message has to go by TCP: bytes that are redirected are no packets, by which
/// conntrack would keep the connection and policy would see it. `now`, `every`: seconds.
#[inline(always)]
#[must_use]
pub const fn is_due_by_tcp(state: &SockState, now: u32, every: u32) -> bool {
    every != 0 && now.wrapping_sub(state.begun) >= every
}

/// Where the backlog cannot be seen: one total for the connection, then never again.
#[inline(always)]
#[must_use]
pub const fn renew_blind(state: &mut SockState, total_cap: u32) -> bool {
    if state.unread_messages > 0 {
        return false;
    }
    state.credit = total_cap;
    true
}

/// Takes a message from the credit.
#[inline(always)]
pub const fn spend(state: &mut SockState, size: u32) {
    state.credit = state.credit.saturating_sub(flow::charge(size));
}

/// A message was put into the reader's redirected queue.
#[inline(always)]
pub const fn redirected(state: &mut SockState, size: u32) {
    state.unread_messages = state.unread_messages.saturating_add(1);
    state.unread_bytes = state.unread_bytes.saturating_add(size);
    if size < state.smallest {
        state.smallest = size;
    }
}

#[cfg(test)]
mod tests {
    use super::{Step, look_again, stay, step};
    use crate::flow::MAX_BACKOFF;
    use crate::state::{SockState, mode};

    /// How many sends go by until one looks.
    fn until_a_look(state: &mut SockState) -> u16 {
        let mut sends = 0;
        while step(state, 1) == Step::Tcp {
            sends += 1;
        }
        sends
    }

    #[test]
    fn what_was_in_vain_before_a_change_delays_nothing_after_it() {
        let mut state = SockState {
            mode: mode::TCP,
            ..SockState::default()
        };
        for _ in 0..12 {
            stay(&mut state, false);
        }
        assert_eq!(until_a_look(&mut state), MAX_BACKOFF);
        look_again(&mut state, 0);
        let waited = [(); 4].map(|()| {
            let sends = until_a_look(&mut state);
            stay(&mut state, false);
            sends
        });
        assert_eq!(waited, [0, 1, 2, 4]);
    }
}

//! `sched_cls`, run by user space: what is done with a socket outside of its own callbacks
//! ([`sockway_common::order`]).
//!
//! `sock_ops` may put a socket into a sockhash only when it is established (`net/core/sock_map.c`
//! `sock_map_op_okay`). A `sched_cls` program may look a socket up and put it there at any time
//! (`may_update_sockmap`, 5.10), by `BPF_PROG_TEST_RUN` in its network namespace. It holds the
//! socket's spin lock only (`sock_map_update_elem`), not the lock of who makes calls on it: so it
//! writes nothing that a call of the owner writes, but fields of the row that are its own.

mod find;
mod join;
mod rest;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::programs::TcContext;
use sockway_common::end::event;
use sockway_common::order::{AT, DONE, Order, what};

use crate::{ends, events, signals};

/// Carries out the order in the packet.
#[inline(always)]
pub(crate) fn run(ctx: &TcContext) {
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + AT + size_of::<Order>() > end {
        return;
    }
    let place = (start + AT) as *mut Order;
    // SAFETY: the verifier has seen the bounds of the packet checked above; nobody else has it.
    let order = unsafe { &mut *place };
    let result = match order.what {
        what::OPEN => open(order.cookie),
        what::CLOSE => close(order.cookie),
        what::GONE => gone(order.cookie),
        what::CHECK => rest::check(order),
        what::PASS => pass(),
        what::ALONE => alone(order.cookie, order.why),
        _ => find::with_socket(ctx.as_ptr(), order),
    };
    order.result = result;
}

/// Lets others redirect to an end.
#[inline(always)]
fn open(cookie: u64) -> u32 {
    if let Some(row) = ends::get_mut(cookie) {
        ends::set!(row, open, 1);
        signals::next_epoch();
    }
    DONE
}

/// Lets nobody redirect to an end.
#[inline(always)]
fn close(cookie: u64) -> u32 {
    if let Some(row) = ends::get_mut(cookie) {
        ends::set!(row, leaves, 1);
        ends::set!(row, open, 0);
        signals::next_epoch();
    }
    DONE
}

/// There is nothing for an end in the sockhash.
#[inline(always)]
fn alone(cookie: u64, why: u32) -> u32 {
    if let Some(row) = ends::get_mut(cookie) {
        ends::set!(row, why, why);
        ends::set!(row, alone, 1);
    }
    DONE
}

/// Who keeps the node looks at every end.
#[inline(always)]
fn pass() -> u32 {
    events::tell(event::PASS, 0);
    DONE
}

/// An end is not in the sockhash any more.
#[inline(always)]
fn gone(cookie: u64) -> u32 {
    if let Some(row) = ends::get_mut(cookie) {
        // SAFETY: as in `ends::get`.
        if unsafe { (*row).joined } != 0 {
            crate::account::left_early();
        }
        ends::set!(row, joined, 0);
        ends::set!(row, open, 0);
        ends::set!(row, leaves, 0);
        ends::set!(row, told, 0);
        signals::next_epoch();
    }
    DONE
}

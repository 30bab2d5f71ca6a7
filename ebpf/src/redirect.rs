//! `sk_msg`: decides for every send of a joined socket how its bytes travel.
//!
//! Failing open is the rule: every path ends in "pass", and a redirect that
//! cannot be had means TCP.

use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::bindings::{BPF_F_INGRESS, bpf_sock};
use aya_ebpf::programs::SkMsgContext;
use sockway_common::counters::Reason;
use sockway_common::direction::{self, LOOK_TICKS, Step};
use sockway_common::reader::{ReaderRow, seen};
use sockway_common::scope;
use sockway_common::state::{SockState, flag};

use crate::ends::field;
use crate::kernel::Backlog;
use crate::maps::{PEERS, SOCKETS};
use crate::{account, kernel, readers, sock};

/// Runs for every send of a socket in the sockhash.
#[inline(always)]
pub(crate) fn run(ctx: &SkMsgContext) {
    let sk: *mut core::ffi::c_void = field!(ctx.msg, __bindgen_anon_3.sk).cast();
    if sk.is_null() {
        return;
    }
    let Some(state) = sock::get(sk) else { return };
    let size = field!(ctx.msg, size);
    #[cfg(feature = "bench")]
    if kernel::blind() {
        return blind(ctx, state, size);
    }
    if !may_send(sk) {
        // TCP knows what to answer: EPIPE after a shutdown.
        return account::by_tcp(state, size);
    }
    match direction::step(state, size) {
        Step::Redirect => {}
        Step::Look if start(state) => {}
        Step::Look | Step::Tcp => return account::by_tcp(state, size),
    }
    if state.flags & flag::FACES_APP != 0 && (ulp_appeared(state) || app_changed(state)) {
        return account::by_tcp(state, size);
    }
    if is_urgent(state, size) {
        return account::by_tcp(state, size);
    }
    let now = kernel::ticks() / LOOK_TICKS;
    let fresh = state.looked == now && direction::has_credit(state, size);
    if !fresh && !renew(state, size, now) {
        return account::by_tcp(state, size);
    }
    direction::spend(state, size);
    if SOCKETS.redirect_msg(ctx, state.peer_cookie, u64::from(BPF_F_INGRESS)) != i64::from(SK_PASS)
    {
        go_tcp(state, Reason::PeerGone, true);
        return account::by_tcp(state, size);
    }
    direction::redirected(state, size);
    account::redirected(state, size);
}

/// What the rules cost is measured against this: redirects whatever there is.
#[cfg(feature = "bench")]
#[inline(always)]
fn blind(ctx: &SkMsgContext, state: &mut SockState, size: u32) {
    if state.peer_cookie == 0 {
        let Some(peer) = PEERS.get_ptr(state.cookie) else {
            return account::by_tcp(state, size);
        };
        // SAFETY: as in `check`.
        state.peer_cookie = unsafe { (*peer).cookie };
    }
    let _pass = SOCKETS.redirect_msg(ctx, state.peer_cookie, u64::from(BPF_F_INGRESS));
    account::redirected(state, size);
}

/// False once the sending side is shut down or reset: the kernel asks this
/// program before it looks at that (`net/ipv4/tcp_bpf.c` `tcp_bpf_sendmsg`).
#[inline(always)]
fn may_send(sk: *mut core::ffi::c_void) -> bool {
    /// States of `include/net/tcp_states.h` in which data may be sent.
    const TCP_ESTABLISHED: u32 = 1;
    const TCP_CLOSE_WAIT: u32 = 8;
    let tcp_state = field!(sk.cast::<bpf_sock>(), state);
    tcp_state == TCP_ESTABLISHED || tcp_state == TCP_CLOSE_WAIT
}

/// Rule 6: an application may set up kTLS at any time; its records are
/// encrypted below this program and must not be taken from above it.
#[inline(always)]
fn ulp_appeared(state: &mut SockState) -> bool {
    let app = if state.flags & flag::APP_END != 0 {
        state.sock
    } else {
        state.peer_sock
    };
    if !kernel::has_ulp(app) {
        return false;
    }
    go_tcp(state, Reason::Ulp, true);
    true
}

/// An application may change its ways at any time: looked at on each send, as far
/// as that is cheap. True sends the direction to TCP for good.
#[inline(always)]
fn app_changed(state: &mut SockState) -> bool {
    if state.scope != scope::AUTO || state.flags & flag::APP_END != 0 {
        return false;
    }
    if state.peer_file == 0 {
        // Not accepted yet when this was looked at last.
        state.peer_file = kernel::file(state.peer_sock).unwrap_or(0);
    }
    // The file may be gone and its memory another's: only the socket itself can tell.
    if kernel::file_nonblocking(state.peer_file) == Some(false)
        && kernel::nonblocking(state.peer_sock) == Some(false)
        && kernel::cookie(state.peer_sock) == Some(state.peer_cookie)
    {
        readers::turned(&state.reader, seen::BLOCKING);
        leave_app(state, Reason::Blocking);
        return true;
    }
    let turns = readers::turns();
    if state.turns != turns {
        state.turns = turns;
        // Makes `renew` look at the reader.
        state.credit = 0;
    }
    false
}

/// Leaves an application that is not fit any more to TCP, and its socket too as
/// soon as it has read what was redirected.
#[inline(always)]
fn leave_app(state: &mut SockState, reason: Reason) {
    go_tcp(state, reason, true);
    readers::let_leave(state.peer_cookie);
}

/// `MSG_OOB` of include/linux/socket.h.
const MSG_OOB: u32 = 1;

/// Sends of Envoy over this many bytes are not asked for `MSG_OOB`, which it never uses.
const SMALL: u32 = 16;

/// Urgent data has a pointer that only TCP carries; the flags of a send are in
/// the registers of the task that makes it.
#[inline(always)]
fn is_urgent(state: &mut SockState, size: u32) -> bool {
    if state.flags & flag::APP_END == 0 && size > SMALL {
        return false;
    }
    if kernel::call().send_flags() & MSG_OOB == 0 {
        return false;
    }
    if state.reader.kind != 0 {
        readers::turned(&state.reader, seen::URGENT);
    }
    go_tcp(state, Reason::Guarded, true);
    true
}

/// Sends a direction to TCP; `always`: until the connection ends.
#[inline(always)]
fn go_tcp(state: &mut SockState, reason: Reason, always: bool) {
    account::set_reason(state, reason);
    direction::leave(state, always);
}

/// Decides whether a direction that is not redirected may be from this send on.
#[inline(always)]
fn start(state: &mut SockState) -> bool {
    let first = direction::is_first(state);
    match check(state, first) {
        Ok(()) => {
            direction::begin(state);
            if !first {
                account::resumed();
            }
            true
        }
        Err((reason, always)) => {
            account::set_reason(state, reason);
            if matches!(reason, Reason::Unaccepted) {
                // Over with the next answer: no need to look less often.
                direction::leave(state, always);
            } else {
                direction::stay(state, always);
            }
            false
        }
    }
}

/// The rules, cheapest first. An error says why not, and whether for ever.
#[inline(always)]
fn check(state: &mut SockState, first: bool) -> Result<(), (Reason, bool)> {
    if state.peer_cookie == 0 {
        let Some(peer) = PEERS.get_ptr(state.cookie) else {
            return Err((Reason::NoPeer, false));
        };
        // SAFETY: a row stays readable until the program ends (RCU); the other
        // end writes it once, before this end can find it.
        let peer = unsafe { *peer };
        state.peer_cookie = peer.cookie;
        state.peer_sock = peer.sock;
        let _taken = PEERS.remove(state.cookie);
    }
    if state.flags & flag::ACTIVE != 0 && !kernel::is_accepted(state.peer_sock) {
        return Err((Reason::Unaccepted, false));
    }
    if state.scope == scope::AUTO {
        check_file(state)?;
    }
    if kernel::has_ulp(state.sock) {
        return Err((Reason::Ulp, true));
    }
    if first {
        return Ok(());
    }
    if kernel::cookie(state.peer_sock) != Some(state.peer_cookie) {
        return Err((Reason::PeerGone, true));
    }
    // `renew` would refuse too, but then the next send would look again.
    if memory_is_short(state) {
        return Err((Reason::Memory, false));
    }
    direction::order(kernel::ends(state.sock, state.peer_sock))
}

/// Rule 3: only sockets that can take it.
#[inline(always)]
fn check_file(state: &mut SockState) -> Result<(), (Reason, bool)> {
    if state.flags & flag::APP_END != 0 && state.flags & flag::FILE_CHECKED == 0 {
        if kernel::nonblocking(state.sock) != Some(true) {
            readers::turned(&state.reader, seen::BLOCKING);
            return Err((Reason::Blocking, true));
        }
        if kernel::has_tcp_only_option(state.sock) {
            readers::turned(&state.reader, seen::TCP_ONLY);
            return Err((Reason::Guarded, true));
        }
        state.flags |= flag::FILE_CHECKED;
    }
    Ok(())
}

/// Rule 2: looks at the reader, and at its backlog where the credit is spent; false sends
/// the direction to TCP.
///
/// So does memory that runs short, the node's for TCP or that of the reader's pod: above the last
/// value of `tcp_mem`, or where a charge to the pod fails, a redirected send fails with `ENOMEM`
/// (`net/ipv4/tcp_bpf.c` `bpf_tcp_ingress`, 5.10 to 7.2), where TCP lets the sender wait.
#[inline(never)]
fn renew(state: &mut SockState, size: u32, now: u64) -> bool {
    match kernel::cookie(state.peer_sock) {
        Some(cookie) if cookie == state.peer_cookie => {}
        Some(_) => {
            go_tcp(state, Reason::PeerGone, true);
            return false;
        }
        None => return direction::has_credit(state, size) || renew_blind(state),
    }
    if state.flags & (flag::FACES_APP | flag::APP_END) == flag::FACES_APP
        && state.scope == scope::AUTO
        && let Some(reason) = reader_turned(state)
    {
        leave_app(state, reason);
        return false;
    }
    if memory_is_short(state) {
        go_tcp(state, Reason::Memory, false);
        return false;
    }
    state.looked = now;
    if direction::has_credit(state, size) {
        return true;
    }
    let bytes = match kernel::backlog(state.peer_sock) {
        Backlog::Bytes(bytes) => bytes,
        Backlog::Long => state.unread_bytes,
        Backlog::Gone => {
            go_tcp(state, Reason::PeerGone, true);
            return false;
        }
        Backlog::Unknown => return renew_blind(state),
    };
    let Some(buffer) = kernel::receive_buffer(state.peer_sock) else {
        return renew_blind(state);
    };
    if direction::renew(state, bytes, buffer, kernel::backlog_limit(), size) {
        return true;
    }
    go_tcp(state, Reason::Backlog, false);
    false
}

/// Whether a redirected send could fail for want of memory.
#[inline(always)]
fn memory_is_short(state: &SockState) -> bool {
    kernel::memory_is_short(state.sock) || kernel::pod_is_full(state.peer_sock)
}

/// Why an application that was fit is not redirected into any more, if so.
#[inline(always)]
fn reader_turned(state: &mut SockState) -> Option<Reason> {
    state.turns = readers::turns();
    let row = readers::known(&state.reader);
    if row.seen & seen::UNFIT != 0 {
        return Some(readers::unfit_reason(row));
    }
    let what = if kernel::nonblocking(state.peer_sock) == Some(false) {
        seen::BLOCKING
    } else if kernel::rcvlowat(state.peer_sock) > 1 {
        seen::RCVLOWAT
    } else if kernel::has_tcp_only_option(state.peer_sock) {
        seen::TCP_ONLY
    } else {
        return None;
    };
    readers::turned(&state.reader, what);
    Some(readers::unfit_reason(ReaderRow { seen: what, ..row }))
}

/// Where the backlog cannot be seen: one total for the connection, then TCP.
#[inline(always)]
fn renew_blind(state: &mut SockState) -> bool {
    if direction::renew_blind(state, kernel::total_cap()) {
        return true;
    }
    go_tcp(state, Reason::Backlog, true);
    false
}

//! Taking the steps that user space wants of a socket.

use aya_ebpf::bindings::{BPF_ANY, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG};
use aya_ebpf::helpers::generated::{bpf_getsockopt, bpf_map_update_elem, bpf_setsockopt};
use core::ffi::c_void;
use sockway_common::counters::Reason;
use sockway_common::existing::{DONE, Done, JoinRow, step};
use sockway_common::pair::hop;
use sockway_common::reader::OTHER_END;
use sockway_common::scope;
use sockway_common::state::{SockState, flag, mode};

use super::{Context, cookie, established, field, tcp_only};
use crate::kernel::At;
use crate::maps::{JOINS, SOCKETS, take_out};
use crate::{account, ageing, kernel, readers, sock};

/// `SOL_TCP` of include/linux/socket.h.
const SOL_TCP: i32 = 6;
/// `TCP_BPF_SOCK_OPS_CB_FLAGS` of include/uapi/linux/bpf.h, kernel 6.12.
const CB_FLAGS: i32 = 1008;

/// Takes the step that user space wants of a socket, if any.
#[inline(always)]
pub(crate) fn join(ctx: &Context) {
    let (sk, sock) = (ctx.sk(), ctx.sock());
    if sk.is_null() || !established(sock) {
        return;
    }
    let cookie = cookie(sk);
    let Some(row) = JOINS.get_ptr(cookie) else {
        return;
    };
    // SAFETY: a row stays readable until the program ends (RCU); user space
    // changes rows only while no iterator runs.
    let row = unsafe { &*row };
    let result = match row.step {
        step::HOLD => hold(sk, sock, cookie, row),
        step::OPEN => open(sk, row),
        _ => watch(sk, sock, cookie, row),
    };
    ctx.tell(&Done {
        cookie,
        result: result.map_or_else(|reason| reason as u32, |()| DONE),
        step: row.step,
    });
}

/// Puts a socket into the sockhash; its sends stay on TCP.
#[inline(always)]
fn hold(sk: *mut c_void, sock: u64, cookie: u64, row: &JoinRow) -> Result<(), Reason> {
    let at = At::sock(sock);
    if kernel::has_ulp(at) {
        return Err(Reason::Ulp);
    }
    // In every scope: a reader that waits in a call which began before would
    // never see redirected bytes.
    if kernel::nonblocking(at) != Some(true) {
        return Err(Reason::Blocking);
    }
    if tcp_only(at) {
        return Err(Reason::Guarded);
    }
    let held_before = sock::get(sk)
        .is_some_and(|s| s.flags & flag::HELD != 0 && s.peer_cookie == row.peer_cookie);
    if !held_before && !is_pair(sock, row) {
        return Err(Reason::NoPeer);
    }
    let state = new_state(sk, sock, cookie, row)?;
    let before = state.flags;
    if before & flag::OBSERVED != 0 {
        readers::unwatch(cookie);
    }
    state.peer_cookie = row.peer_cookie;
    state.peer_sock = row.peer_sock;
    state.peer_file = 0;
    state.mode = mode::TCP_ALWAYS;
    state.reason = Reason::Order as u32;
    state.flags = row.flags | flag::HELD;
    if before & flag::HELD != 0 {
        return Ok(());
    }
    let watched = row.flags & flag::APP_END != 0 && row.scope == scope::AUTO;
    // An application that could not leave again does not come in.
    let may_leave = !watched || set_callbacks(sk, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
    if !may_leave || !insert(sk, cookie) {
        state.flags = row.flags | flag::OBSERVED;
        return Err(Reason::NotInserted);
    }
    // Where this fails, the last few figures are missing from the sums.
    let _told_of_its_end = set_callbacks(sk, BPF_SOCK_OPS_STATE_CB_FLAG);
    let is_active = row.flags & flag::ACTIVE != 0;
    if is_active == (row.hop == hop::APP) {
        ageing::keep(sk, at);
    }
    if watched {
        readers::watch(cookie, &row.reader);
    }
    Ok(())
}

/// True while the numbers of both ends are each other's: 64 random bits. This end does not
/// move, for it is locked.
#[inline(always)]
fn is_pair(sock: u64, row: &JoinRow) -> bool {
    let snd_nxt = |sock| kernel::read::<u32>(sock, field!(snd_nxt));
    let peer = At::sock(row.peer_sock);
    let (sent, received) = (snd_nxt(sock), kernel::rcv_nxt(At::sock(sock)));
    sent.is_some()
        && received.is_some()
        && sent == kernel::rcv_nxt(peer)
        && received == snd_nxt(row.peer_sock)
        // Last: what was read was this socket's until now.
        && kernel::cookie(peer) == Some(row.peer_cookie)
}

/// The state of a socket that is not joined, new or as it was watched or held, with what
/// the row says; its flags are left as they were.
#[inline(always)]
fn new_state<'a>(
    sk: *mut c_void,
    sock: u64,
    cookie: u64,
    row: &JoinRow,
) -> Result<&'a mut SockState, Reason> {
    if let Some(state) = sock::get(sk)
        && state.flags & (flag::OBSERVED | flag::HELD) == 0
    {
        // Joined by `sock_ops`, or open already.
        return Err(Reason::NotInserted);
    }
    let Some(state) = sock::create(sk) else {
        return Err(Reason::NotInserted);
    };
    state.cookie = cookie;
    state.sock = sock;
    state.hop = row.hop;
    state.scope = row.scope;
    state.pod = row.pod;
    state.reader = row.reader;
    Ok(state)
}

/// Watches a socket on plain TCP, as `sock_ops` does with the first ones of an address; takes
/// it out of the sockhash first if it is held there.
#[inline(always)]
fn watch(sk: *mut c_void, sock: u64, cookie: u64, row: &JoinRow) -> Result<(), Reason> {
    // Without being told of its end its rows would stay.
    let told = set_callbacks(sk, BPF_SOCK_OPS_STATE_CB_FLAG);
    let state = new_state(sk, sock, cookie, row)?;
    if state.flags & flag::HELD != 0 {
        // Nothing was redirected to it.
        take_out(cookie);
        readers::unwatch(cookie);
    }
    state.mode = mode::UNDECIDED;
    state.flags = row.flags | flag::OBSERVED;
    if !told || row.reader.kind == 0 {
        return Ok(());
    }
    if row.flags & flag::APP_END == 0 {
        state.reader.kind |= OTHER_END;
    }
    readers::watch(cookie, &state.reader);
    Ok(())
}

/// Puts a socket into the sockhash.
#[inline(always)]
fn insert(sk: *mut c_void, cookie: u64) -> bool {
    let map = (&raw const SOCKETS).cast_mut().cast();
    let key = (&raw const cookie).cast();
    // SAFETY: `map` is the sockhash, the key a live local, and `sk` the
    // context's socket, which the kernel takes as the value of a sockhash.
    unsafe { bpf_map_update_elem(map, key, sk, u64::from(BPF_ANY)) == 0 }
}

/// Has `sock_ops` called for more of the socket; false on kernels before 6.12,
/// which cannot do that from here.
#[inline(always)]
fn set_callbacks(sk: *mut c_void, wanted: u32) -> bool {
    const SIZE: i32 = 4;
    let mut flags = 0u32;
    // SAFETY: `sk` is the context's socket, locked by the kernel; the value is
    // a live local of the size given.
    let failed = unsafe { bpf_getsockopt(sk, SOL_TCP, CB_FLAGS, (&raw mut flags).cast(), SIZE) };
    if failed != 0 {
        return false;
    }
    // Kept: what programs of others asked for.
    flags |= wanted;
    // SAFETY: as above.
    let failed = unsafe { bpf_setsockopt(sk, SOL_TCP, CB_FLAGS, (&raw mut flags).cast(), SIZE) };
    failed == 0
}

/// Lets a held socket's sends be redirected as soon as rule 1 allows.
#[inline(always)]
fn open(sk: *mut c_void, row: &JoinRow) -> Result<(), Reason> {
    let Some(state) = sock::get(sk) else {
        return Err(Reason::NotInserted);
    };
    if state.flags & flag::OBSERVED != 0 || state.peer_cookie != row.peer_cookie {
        return Err(Reason::NotInserted);
    }
    if state.flags & flag::HELD == 0 {
        // Shown a second time, because the record did not fit the first time.
        return Ok(());
    }
    state.flags &= !flag::HELD;
    // What was sent so far went by TCP: rule 1 says when that may change.
    state.mode = mode::TCP;
    state.skip = 0;
    state.backoff = 0;
    if state.flags & flag::ACTIVE == 0 {
        account::paired(state);
    }
    Ok(())
}

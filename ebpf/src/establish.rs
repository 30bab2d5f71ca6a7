//! `sock_ops`: finds the two ends of a connection and joins them.
//!
//! A SYN that reaches a listener of a registered pod leaves a row in `pending`
//! under both initial sequence numbers. The connecting socket, once
//! established, finds that row only if its SYN arrived on this node, so
//! connections that leave the node are never touched. The accepted socket then
//! finds the connecting one in the row: those two are one connection, whatever
//! their addresses say.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_ANY, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_HDR_OPT_LEN_CB,
    BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RWND_INIT, BPF_SOCK_OPS_STATE_CB,
    BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG, bpf_sock_ops,
};
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::programs::SockOpsContext;
use sockway_common::addr::IpKey;
use sockway_common::counters::Reason;
use sockway_common::pair::{
    ENVOY_UID, PeerRow, PendingRow, ReaderKey, SeqKey, classify, hop, passive_pod,
};
use sockway_common::pod::PodRow;
use sockway_common::reader::{self, CLIENT, OTHER_END, SERVER};
use sockway_common::scope;
use sockway_common::state::{SockState, flag};

use crate::ends::Tuple;
use crate::kernel::Backlog;
use crate::maps::{PEERS, PENDING, PODS, SOCKETS, take_out};
use crate::{account, ageing, kernel, readers, sock};

/// `TCP_CLOSE` of `include/net/tcp_states.h`.
const TCP_CLOSE: u32 = 7;

/// Runs for every socket operation of the cgroup.
#[inline(always)]
pub(crate) fn run(ctx: &SockOpsContext) {
    // Functions of their own below: one stack of 512 bytes would not hold them all.
    match ctx.op() {
        BPF_SOCK_OPS_RWND_INIT => syn(ctx.ops),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => active(ctx.ops),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => passive(ctx.ops),
        BPF_SOCK_OPS_HDR_OPT_LEN_CB => segment(ctx.ops),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == TCP_CLOSE => close(ctx.ops),
        _ => {}
    }
}

/// What the registration of a passive socket's pod says about a connection.
#[inline(always)]
fn qualify(tuple: &Tuple) -> Option<PendingRow> {
    let pod = passive_pod(tuple.local, tuple.remote)?;
    let row = lookup_pod(pod)?;
    let hop = classify(tuple.local, tuple.local_port, tuple.remote, row);
    if hop == hop::NONE {
        return None;
    }
    account::syn(hop);
    if row.scope == scope::OFF || (row.scope == scope::PROXY && hop != hop::INBOUND) {
        account::left(Reason::Scope);
        return None;
    }
    let mut pending = PendingRow {
        pod,
        hop,
        scope: row.scope,
        ..PendingRow::default()
    };
    if hop == hop::APP && row.scope == scope::AUTO {
        pending.reader = ReaderKey {
            ip: tuple.local,
            pod: IpKey::default(),
            owner: row.owner,
            port: u32::from(tuple.local_port),
            kind: SERVER,
        };
        let known = readers::known(&pending.reader);
        if known.seen & reader::seen::UNFIT != 0 {
            account::left(readers::unfit_reason(known));
            return None;
        }
        pending.observe = u32::from(!reader::fit(&known));
    }
    Some(pending)
}

#[inline(always)]
fn lookup_pod<'a>(ip: IpKey) -> Option<&'a PodRow> {
    let row = PODS.get_ptr(ip)?;
    // SAFETY: a row stays readable until the program ends (RCU); user space
    // replaces rows as a whole, so at worst an old row is read.
    Some(unsafe { &*row })
}

/// A SYN arrived at a listener on this node: the context is its request socket.
///
/// `net/ipv4/tcp_minisocks.c` `tcp_openreq_init_rwin` (5.10 to 7.2) asks for the
/// initial window after both sequence numbers are set.
#[inline(never)]
fn syn(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    if crate::ends::is_fullsock(ctx) {
        return;
    }
    let Some(pending) = qualify(&Tuple::of(ctx)) else {
        return;
    };
    let Some(sock) = kernel::sops_sock(ctx.as_ptr()) else {
        return;
    };
    let Some((client, server)) = kernel::request_isns(sock) else {
        return;
    };
    let key = SeqKey {
        active_next: client.wrapping_add(1),
        passive_next: server.wrapping_add(1),
    };
    // A full map means TCP.
    let _full = PENDING.insert(key, pending, u64::from(BPF_ANY));
}

/// The connecting socket is established.
#[inline(never)]
fn active(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let (snd_nxt, rcv_nxt) = crate::ends::sequence(ctx);
    let key = SeqKey {
        active_next: snd_nxt,
        passive_next: rcv_nxt,
    };
    let Some(row) = PENDING.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: as in `lookup_pod`; only this connection's two ends use the row.
    let row = unsafe { &mut *row };
    account::local(row.hop);
    if row.observe != 0 {
        account::left(Reason::Observed);
        return observe(ctx, row);
    }
    if let Err(reason) = join_active(ctx, key, row) {
        account::left(reason);
        if matches!(reason, Reason::Observed) {
            // The accepted end is watched too.
            row.observe = 1;
        } else {
            let _gone = PENDING.remove(key);
        }
    }
}

/// Brings the connecting socket in, if it qualifies too.
#[inline(always)]
fn join_active(ctx: &SockOpsContext, key: SeqKey, row: &mut PendingRow) -> Result<(), Reason> {
    let tuple = Tuple::of(ctx);
    let sk = crate::ends::sk(ctx);
    if sk.is_null() {
        return Err(Reason::NotInserted);
    }
    let sock = own_sock(ctx);
    // The client's pod may be another one, with a scope of its own, or none.
    let own = lookup_pod(tuple.local);
    if let Some(own) = own
        && row.hop == hop::INBOUND
    {
        row.scope = scope::stricter(row.scope, own.scope);
    }
    let envoy = match row.hop {
        hop::OUTBOUND => false,
        hop::INBOUND => kernel::uid(sock) == Some(ENVOY_UID),
        _ => true,
    };
    if row.scope == scope::OFF || (row.scope == scope::PROXY && !envoy) {
        return Err(Reason::Scope);
    }
    if kernel::has_ulp(sock) {
        return Err(Reason::Ulp);
    }
    // Envoy never blocks, so for it this only tells others who use its uid or
    // its source address.
    if row.scope != scope::ALL && kernel::nonblocking(sock) != Some(true) {
        return Err(Reason::Blocking);
    }
    let mut observed = false;
    if !envoy && row.scope == scope::AUTO {
        row.reader = ReaderKey {
            ip: tuple.remote,
            pod: tuple.local,
            owner: own.map(|own| own.owner).unwrap_or_default(),
            port: u32::from(tuple.remote_port),
            kind: CLIENT,
        };
        let known = readers::known(&row.reader);
        if known.seen & reader::seen::UNFIT != 0 {
            return Err(readers::unfit_reason(known));
        }
        observed = !reader::fit(&known);
    }
    let Some(state) = new_state(ctx, sk, row) else {
        return Err(Reason::NotInserted);
    };
    state.flags = flag::ACTIVE;
    state.pending = key;
    if !envoy || row.hop == hop::APP {
        row.faces_app = 1;
        state.flags |= flag::FACES_APP;
    }
    if !envoy {
        state.flags |= flag::APP_END;
        if row.scope == scope::AUTO {
            readers::watch(state.cookie, &row.reader);
            if !observed {
                set_callbacks(ctx, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
            }
        }
    }
    set_callbacks(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
    if observed {
        state.flags |= flag::OBSERVED;
        return Err(Reason::Observed);
    }
    let cookie = insert(ctx, state.cookie)?;
    if row.hop == hop::APP {
        ageing::keep(ctx.as_ptr(), sock);
    }
    row.active_sock = sock;
    row.active_cookie = cookie;
    Ok(())
}

/// The accepted socket is established.
#[inline(never)]
fn passive(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let (snd_nxt, rcv_nxt) = crate::ends::sequence(ctx);
    let key = SeqKey {
        active_next: rcv_nxt,
        passive_next: snd_nxt,
    };
    let Some(row) = PENDING.get_ptr(key) else {
        return;
    };
    // SAFETY: as in `lookup_pod`; copied before the row is taken out.
    let row = unsafe { *row };
    let _gone = PENDING.remove(key);
    let sk = crate::ends::sk(ctx);
    if sk.is_null() {
        return;
    }
    if row.observe != 0 {
        return observe(ctx, &row);
    }
    if row.active_cookie == 0 {
        return;
    }
    if let Err(reason) = join_passive(ctx, sk, &row) {
        account::left(reason);
    }
}

/// Watches an end on plain TCP, the application's or the other one.
#[inline(always)]
fn observe(ctx: &SockOpsContext, row: &PendingRow) {
    let sk = crate::ends::sk(ctx);
    if sk.is_null() {
        return;
    }
    let Some(state) = new_state(ctx, sk, row) else {
        return;
    };
    state.flags = flag::OBSERVED;
    // A watched active end of an application has its state from `join_active`.
    if row.reader.kind == SERVER && ctx.op() == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB {
        state.flags |= flag::APP_END;
    } else {
        state.reader.kind |= OTHER_END;
    }
    readers::watch(state.cookie, &state.reader);
    set_callbacks(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
}

/// Brings the accepted socket in and tells the connecting one.
#[inline(always)]
fn join_passive(
    ctx: &SockOpsContext,
    sk: *mut core::ffi::c_void,
    row: &PendingRow,
) -> Result<(), Reason> {
    let sock = own_sock(ctx);
    if kernel::has_ulp(sock) {
        return Err(Reason::Ulp);
    }
    let Some(state) = new_state(ctx, sk, row) else {
        return Err(Reason::NotInserted);
    };
    state.peer_cookie = row.active_cookie;
    state.peer_sock = row.active_sock;
    if row.faces_app != 0 {
        state.flags |= flag::FACES_APP;
    }
    if row.hop == hop::APP {
        state.flags |= flag::APP_END;
        if row.scope == scope::AUTO {
            readers::watch(state.cookie, &row.reader);
            set_callbacks(ctx, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
        }
    }
    set_callbacks(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
    let cookie = insert(ctx, state.cookie)?;
    if row.hop != hop::APP {
        ageing::keep(ctx.as_ptr(), sock);
    }
    let peer = PeerRow { cookie, sock };
    if PEERS
        .insert(row.active_cookie, peer, u64::from(BPF_ANY))
        .is_err()
    {
        account::left(Reason::NotInserted);
    }
    // The active end may have closed while this one was being set up, and then
    // took its row out before it was written. Its psock went before that.
    if matches!(kernel::backlog(row.active_sock), Backlog::Gone) {
        let _taken = PEERS.remove(row.active_cookie);
    }
    account::paired(state);
    Ok(())
}

/// Gives the context's socket its state, with what the row says.
#[inline(always)]
fn new_state<'a>(
    ctx: &SockOpsContext,
    sk: *mut core::ffi::c_void,
    row: &PendingRow,
) -> Option<&'a mut SockState> {
    let state = sock::create(sk)?;
    state.cookie = cookie(ctx);
    state.sock = own_sock(ctx);
    state.hop = row.hop;
    state.scope = row.scope;
    state.pod = row.pod;
    state.reader = row.reader;
    Some(state)
}

/// Puts the context's socket into the sockhash; its key again.
#[inline(always)]
fn insert(ctx: &SockOpsContext, mut cookie: u64) -> Result<u64, Reason> {
    // SAFETY: the context is valid for the whole run.
    let ops = unsafe { &mut *ctx.ops };
    match SOCKETS.update(&mut cookie, ops, u64::from(BPF_ANY)) {
        Ok(()) => Ok(cookie),
        Err(_) => Err(Reason::NotInserted),
    }
}

/// The socket's address as a number: the verifier lets no program calculate
/// with the context's own socket pointer.
#[inline(always)]
fn own_sock(ctx: &SockOpsContext) -> u64 {
    kernel::sops_sock(ctx.as_ptr()).unwrap_or(0)
}

#[inline(always)]
fn cookie(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the helper takes the running program's own context.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

#[inline(always)]
fn set_callbacks(ctx: &SockOpsContext, flags: u32) {
    // Kept: what programs of others asked for.
    let flags = ctx.cb_flags() | flags;
    // A failure costs the close figures, nothing else.
    let _unsupported = ctx.set_cb_flags(flags.cast_signed());
}

/// A joined or watched socket is closed: takes its rows out, adds its figures.
///
/// The kernel itself takes it out of the sockhash (`net/core/sock_map.c` `sock_map_close`).
#[inline(never)]
fn close(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let sk = crate::ends::sk(ctx);
    if sk.is_null() {
        return;
    }
    let Some(state) = sock::get(sk) else { return };
    if state.flags & flag::ACTIVE != 0 {
        let _taken = PEERS.remove(state.cookie);
        let _taken = PENDING.remove(state.pending);
    }
    if state.reader.kind != 0 && state.flags & (flag::APP_END | flag::OBSERVED) != 0 {
        readers::unwatch(state.cookie);
    }
    if state.flags & flag::OBSERVED == 0 {
        if state.flags & flag::HELD == 0 {
            account::closed(state);
        }
        if kernel::failed(state.sock) {
            leave(state);
        }
    }
}

/// A joined application's socket is about to send a segment, be it an acknowledgement of
/// bytes that came by TCP: takes it out of the sockhash where the other end said so.
///
/// From then on the application reads through TCP itself, as one that blocks must.
/// Nothing can be lost: the other end redirected its last message before it said so.
#[inline(never)]
fn segment(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let sk = crate::ends::sk(ctx);
    if sk.is_null() {
        return;
    }
    if let Some(state) = sock::get(sk)
        && readers::leaves(state.cookie)
    {
        leave(state);
    }
}

/// Takes a socket out of the sockhash, if nothing waits in its redirected queue.
///
/// Where the connection failed: `tcp_bpf_sendmsg` reports an error without clearing it, so
/// that it would come again with each call (`net/ipv4/tcp_bpf.c`, 5.10 to 7.2); TCP
/// itself says it once.
#[inline(always)]
fn leave(state: &mut SockState) {
    if !matches!(kernel::backlog(state.sock), Backlog::Bytes(0)) || kernel::has_ulp(state.sock) {
        return;
    }
    take_out(state.cookie);
}

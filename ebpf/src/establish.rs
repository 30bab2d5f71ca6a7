//! `sock_ops`: finds the two ends of a connection and joins them.
//!
//! A SYN that reaches a listener of a registered pod leaves a row in `pending`
//! under both initial sequence numbers. The connecting socket, once
//! established, finds that row only if its SYN arrived on this node, so
//! connections that leave the node are never touched. The accepted socket then
//! finds the connecting one in the row, and leaves its own name there: those two are one
//! connection, whatever their addresses say.

mod active;
mod end;
mod passive;
mod syn;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_ANY, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_HDR_OPT_LEN_CB,
    BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RWND_INIT, BPF_SOCK_OPS_STATE_CB,
    BPF_SOCK_OPS_STATE_CB_FLAG,
};
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::programs::SockOpsContext;
use sockway_common::addr::IpKey;
use sockway_common::counters::Reason;
use sockway_common::pair::PendingRow;
use sockway_common::pod::PodRow;
use sockway_common::reader::{OTHER_END, SERVER};
use sockway_common::state::{SockState, flag};

use crate::kernel::Own;
use crate::maps::{PODS, SOCKETS};
use crate::{kernel, readers, sock};

/// `TCP_CLOSE` of `include/net/tcp_states.h`.
const TCP_CLOSE: u32 = 7;

/// Runs for every socket operation of the cgroup.
#[inline(always)]
pub(crate) fn run(ctx: &SockOpsContext) {
    // Functions of their own: one stack of 512 bytes would not hold them all.
    match ctx.op() {
        BPF_SOCK_OPS_RWND_INIT => syn::arrived(ctx.ops),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => active::established(ctx.ops),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => passive::established(ctx.ops),
        BPF_SOCK_OPS_HDR_OPT_LEN_CB => end::segment(ctx.ops),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == TCP_CLOSE => end::closed(ctx.ops),
        _ => {}
    }
}

#[inline(always)]
fn lookup_pod<'a>(ip: IpKey) -> Option<&'a PodRow> {
    let row = PODS.get_ptr(ip)?;
    // SAFETY: a row stays readable until the program ends (RCU); user space
    // replaces rows as a whole, so at worst an old row is read.
    Some(unsafe { &*row })
}

/// A full socket of the context.
#[derive(Clone, Copy)]
struct Socket {
    /// The pointer that the verifier tracks.
    sk: *mut core::ffi::c_void,
    own: Own,
}

impl Socket {
    /// `None` for request and time-wait sockets, and what is not TCP.
    #[inline(always)]
    fn of(ctx: &SockOpsContext) -> Option<Self> {
        let sk = crate::ends::sk(ctx);
        if sk.is_null() {
            return None;
        }
        let own = Own::of(sk, || kernel::sops_sock(ctx.as_ptr()).unwrap_or(0))?;
        Some(Self { sk, own })
    }

    /// Gives the socket its state, with what the row says.
    #[inline(always)]
    fn new_state<'a>(
        self,
        ctx: &SockOpsContext,
        row: &PendingRow,
    ) -> Result<&'a mut SockState, Reason> {
        let Some(state) = sock::create(self.sk) else {
            return Err(Reason::NotInserted);
        };
        state.cookie = cookie(ctx);
        state.sock = self.own.address();
        state.hop = row.hop;
        state.scope = row.scope;
        state.pod = row.pod;
        state.reader = row.reader;
        Ok(state)
    }
}

/// Watches an end on plain TCP, the application's or the other one.
#[inline(always)]
fn observe(ctx: &SockOpsContext, socket: Socket, row: &PendingRow) {
    let Ok(state) = socket.new_state(ctx, row) else {
        return;
    };
    state.flags = flag::OBSERVED;
    // A watched active end of an application has its state from `active`.
    if row.reader.kind == SERVER && ctx.op() == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB {
        state.flags |= flag::APP_END;
    } else {
        state.reader.kind |= OTHER_END;
    }
    readers::watch(state.cookie, &state.reader);
    set_callbacks(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
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

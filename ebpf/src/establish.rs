//! `sock_ops`: finds the two ends of a connection, and brings in those that may.
//!
//! A SYN that reaches a listener of a registered pod leaves a row in `pending` under both initial
//! sequence numbers. The connecting socket, once established, finds that row only if its SYN
//! arrived on this node, so connections that leave the node are never touched. The accepted socket
//! then finds the connecting one in the row, and leaves its own name in that one's row of `ends`:
//! those two are one connection, whatever their addresses say.

mod active;
mod alone;
mod dial;
mod end;
mod passive;
mod syn;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_ANY, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
    BPF_SOCK_OPS_RWND_INIT, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
    BPF_SOCK_OPS_TCP_CONNECT_CB,
};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_setsockopt};
use aya_ebpf::programs::SockOpsContext;
use sockway_common::addr::IpKey;
use sockway_common::counters::Reason;
use sockway_common::end::EndRow;
use sockway_common::pod::PodRow;
use sockway_common::policy::End;
use sockway_common::state::SockState;

use crate::context::Tuple;
use crate::kernel::Own;
use crate::maps::{PODS, SOCKETS};
use crate::{account, ends, kernel, known, sock};

/// `TCP_CLOSE` of `include/net/tcp_states.h`.
const TCP_CLOSE: u32 = 7;

/// `IPPROTO_TCP` of `include/uapi/linux/in.h`, the level of TCP's options.
const IPPROTO_TCP: i32 = 6;

/// `TCP_BPF_IW` of `include/uapi/linux/bpf.h`: the initial congestion window.
const TCP_BPF_IW: i32 = 1001;

/// Runs for every socket operation of the cgroup.
#[inline(always)]
pub(crate) fn run(ctx: &SockOpsContext) {
    // Functions of their own: one stack of 512 bytes would not hold them all.
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => dial::dials(ctx.ops),
        BPF_SOCK_OPS_RWND_INIT => syn::arrived(ctx.ops),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => active::established(ctx.ops),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => passive::established(ctx.ops),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == TCP_CLOSE => end::closed(ctx.ops),
        _ => {}
    }
}

#[inline(always)]
pub(crate) fn lookup_pod<'a>(ip: IpKey) -> Option<&'a PodRow> {
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
    cookie: u64,
}

impl Socket {
    /// `None` for request and time-wait sockets, and what is not TCP.
    #[inline(always)]
    fn of(ctx: &SockOpsContext) -> Option<Self> {
        let sk = crate::context::sk(ctx);
        if sk.is_null() {
            return None;
        }
        let own = Own::of(sk, || kernel::sops_sock(ctx.as_ptr()).unwrap_or(0))?;
        // SAFETY: the helper takes the running program's own context.
        let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
        Some(Self { sk, own, cookie })
    }

    /// What the policy asks of it.
    #[inline(always)]
    fn facts(self) -> End {
        End {
            nonblocking: kernel::nonblocking(self.own),
            ulp: kernel::has_ulp(self.own),
            tcp_only: kernel::has_tcp_only_option(self.own),
        }
    }

    /// Gives it its state and its row, and puts it into the sockhash if it may be there, and is not alone then.
    #[inline(always)]
    fn track(
        self,
        ctx: &SockOpsContext,
        row: &mut EndRow,
        registered: IpKey,
        flags: u32,
        other: alone::Other,
    ) -> Result<(), Reason> {
        let state = self.state(row, registered).ok_or(Reason::NotInserted)?;
        state.flags = flags;
        state.peer_cookie = row.peer;
        state.peer_sock = row.peer_sock;
        let end = self.facts();
        let known = known::of(&row.program);
        match known::come_in(&row.program, known, (row.scope, row.hop), end) {
            Ok(()) => {
                let why = other.why();
                row.alone = u8::from(why != u32::MAX);
                row.joined = 1 - row.alone;
                row.open = row.joined;
                row.why = if row.alone == 0 { row.why } else { why };
            }
            Err(reason) => {
                row.why = reason as u32;
                account::left(reason);
            }
        }
        row.netns = kernel::netns(self.own);
        if !ends::create(self.cookie, row) {
            return Err(Reason::NotInserted);
        }
        set_callbacks(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
        widen(ctx);
        if row.joined == 0 {
            // Its bytes go by TCP from the first one on, so rule 1 decides if it comes in.
            state.mode = sockway_common::state::mode::TCP;
            return Ok(());
        }
        if insert(ctx, self.cookie) {
            account::joined(row.hop);
            return Ok(());
        }
        account::left(Reason::NotInserted);
        state.mode = sockway_common::state::mode::TCP;
        if let Some(row) = ends::get_mut(self.cookie) {
            ends::leave_out(row, Reason::NotInserted);
            ends::set!(row, joined, 0);
            ends::set!(row, open, 0);
        }
        Ok(())
    }

    #[inline(always)]
    fn state<'a>(self, row: &EndRow, registered: IpKey) -> Option<&'a mut SockState> {
        let state = sock::create(self.sk)?;
        state.cookie = self.cookie;
        state.sock = self.own.address();
        state.hop = row.hop;
        state.scope = row.scope;
        state.pod = registered;
        Some(state)
    }
}

/// Where a socket is, as its row says it.
#[inline(always)]
fn place(row: &mut EndRow, tuple: &Tuple) {
    row.local = tuple.local;
    row.remote = tuple.remote;
    row.local_port = tuple.local_port;
    row.remote_port = tuple.remote_port;
}

/// Puts the context's socket into the sockhash.
#[inline(always)]
fn insert(ctx: &SockOpsContext, mut cookie: u64) -> bool {
    // SAFETY: the context is valid for the whole run.
    let ops = unsafe { &mut *ctx.ops };
    SOCKETS.update(&mut cookie, ops, u64::from(BPF_ANY)).is_ok()
}

#[inline(always)]
fn set_callbacks(ctx: &SockOpsContext, flags: u32) {
    // Kept: what programs of others asked for.
    let flags = ctx.cb_flags() | flags;
    // A failure costs the close figures, nothing else.
    let _unsupported = ctx.set_cb_flags(flags.cast_signed());
}

/// Lets it begin with a send buffer as large as acknowledgements would soon have made it.
///
/// The kernel sizes that buffer by the congestion window (`net/ipv4/tcp_input.c`
/// `tcp_sndbuf_expand`), right after this callback, and again with each acknowledgement; of
/// redirected bytes there are none. A sender that is ahead of its reader would be refused earlier
/// than on plain TCP, and Envoy loses the end of a TLS stream when the last record finds no room.
#[inline(always)]
fn widen(ctx: &SockOpsContext) {
    /// Segments. Both ends are on this node, and the reader's own window bounds what is under way.
    static WINDOW: i32 = 224;
    let value = (&raw const WINDOW).cast_mut().cast();
    // SAFETY: the context is the running program's own; the four bytes of the value are only read.
    let _refused = unsafe { bpf_setsockopt(ctx.as_ptr(), IPPROTO_TCP, TCP_BPF_IW, value, 4) };
}

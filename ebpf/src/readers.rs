//! Learning how programs read (rule 3).
//!
//! Five hooks: the raw tracepoint `tcp_rcv_space_adjust`, which the kernel
//! passes on every read from a TCP queue by whatever call (`net/ipv4/tcp_input.c`;
//! 4.16 to 7.2), the raw tracepoint `sock_recv_length` at the end of every receiving
//! call (`net/socket.c`; 6.3 to 7.2) or fexit of what it calls, the raw tracepoint
//! `inet_sk_error_report` (`net/core/sock.c` `sk_error_report`; 5.14 to 7.2), and fentry of `tcp_ioctl` and
//! `tcp_splice_read` where the kernel allows it. They do nothing for sockets that have no row in `ends`.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::programs::{FEntryContext, FExitContext, RawTracePointContext};
use sockway_common::counters::Reason;
use sockway_common::end::{BEGAN_BLOCKING, EndRow, KNOWN, SETTLED, event};
use sockway_common::policy::{End, fionread};
use sockway_common::program::{
    ProgramKey, Read, SERVER, has, is_proven, sign, stops_short, to_end, wants_ends,
};

use crate::kernel::{At, Waits};
use crate::known::Known;
use crate::{callers, ends, events, kernel, known, signals};

/// `MSG_TRUNC` of include/linux/socket.h.
const MSG_TRUNC: u32 = 0x20;

/// `-EAGAIN` as an int.
const AGAIN: u64 = (-11i32).cast_unsigned() as u64;

/// `SIOCINQ` (`FIONREAD`) of include/uapi/linux/sockios.h.
const SIOCINQ: u32 = 0x541b;

/// An end, and its row.
#[derive(Clone, Copy)]
struct Tracked {
    sock: At,
    cookie: u64,
    row: *mut EndRow,
}

impl Tracked {
    #[inline(always)]
    fn of(sock: At) -> Option<Self> {
        if !kernel::has_storage(sock) {
            return None;
        }
        let cookie = kernel::cookie(sock)?;
        Some(Self {
            sock,
            cookie,
            row: ends::get_mut(cookie)?,
        })
    }

    #[inline(always)]
    fn row<'a>(self) -> &'a EndRow {
        // SAFETY: as in `ends::get`.
        unsafe { &*self.row }
    }

    /// Its program; the first read that is seen says which that is, where nobody knew.
    #[inline(always)]
    fn program(self, executable: (u64, u32)) -> ProgramKey {
        let mut program = self.row().program;
        if program.id == 0 {
            (program.id, program.device) = executable;
            ends::set!(self.row, program, program);
        }
        program
    }
}

/// The one argument of a raw tracepoint, a socket.
#[inline(always)]
fn argument(ctx: &RawTracePointContext) -> At {
    let args = ctx.as_ptr().cast::<u64>();
    // SAFETY: the context is the array of the tracepoint's arguments; it has one.
    At::sock(unsafe { *args })
}

/// `tcp_rcv_space_adjust(struct sock *sk)`: the current task reads from a TCP queue.
#[inline(always)]
pub(crate) fn read(ctx: &RawTracePointContext) {
    let sock = argument(ctx);
    let Some(end) = Tracked::of(sock) else {
        return;
    };
    ends::set!(end.row, received, kernel::bytes_received(sock));
    let row = end.row();
    if kernel::had_urgent(sock)
        && let Some(other) = ends::get(row.peer)
    {
        known::note(&other.program, sign::URGENT);
    }
    // A look at a read costs a microsecond.
    if row.is_quiet() {
        return;
    }
    if row.joined == 0 && row.why == known::settled(&row.program, row.scope, row.hop) {
        ends::be_quiet(end.row, SETTLED);
        return;
    }
    let nonblocking = kernel::nonblocking(sock) != Some(false);
    if row.role & BEGAN_BLOCKING != 0 && !nonblocking {
        return;
    }
    let executable = kernel::executable();
    let program = end.program(executable);
    let Some(known) = Known::open(&program) else {
        return;
    };
    let (read, facts) = describe(
        end,
        known,
        nonblocking,
        program.kind == SERVER,
        executable.0,
    );
    let seen = kernel::opaque(pack(&read, &facts));
    known.note(seen);
    if seen & (RECV | OTHER) != 0 {
        known.count_read(seen & RECV != 0);
    }
    let mut turned = false;
    if seen & SHORT != 0 {
        known.count_short();
        if stops_short(known.now()) && !has(known.now(), sign::SHORT) {
            known.set(sign::SHORT);
            turned = true;
            // The other ends of its connections have no use for the sockhash any more.
            events::tell(event::PASS, 0);
        }
    }
    if known.close() || turned {
        known::share(&program.whole(executable), known.now());
    }
    if wants_ends(known.now(), always()) {
        if !signals::sees_ends() {
            events::tell(event::ASKS, 0);
        }
        signals::ask();
    }
    let facts = End {
        nonblocking: Some(seen >> sign::BLOCKING & 1 == 0),
        ulp: seen & ULP != 0,
        tcp_only: seen & OPTION != 0,
    };
    place(end, known, facts);
}

/// Bits of [`pack`] above those of [`sign`].
const RECV: u32 = 1 << 24;
const OTHER: u32 = 1 << 25;
const SHORT: u32 = 1 << 26;
const ULP: u32 = 1 << 27;
const OPTION: u32 = 1 << 28;

/// A read and its end in one word, which [`kernel::opaque`] hides from the verifier: it would follow
/// each combination of what was found so far through all of the rest.
#[inline(always)]
const fn pack(read: &Read, end: &End) -> u32 {
    let recv = match read.recv_like {
        Some(true) => RECV,
        Some(false) => OTHER,
        None => 0,
    };
    let short = if read.stopped_short { SHORT } else { 0 };
    let ulp = if end.ulp { ULP } else { 0 };
    let option = if end.tcp_only { OPTION } else { 0 };
    read.signs() | recv | short | ulp | option
}

/// What a read is like; notes what it left.
#[inline(always)]
fn describe(
    end: Tracked,
    known: Known,
    nonblocking: bool,
    listens: bool,
    executable: u64,
) -> (Read, End) {
    let sock = end.sock;
    let row = end.row();
    let (gave, empty) = (row.gave != 0, row.empty != 0);
    ends::set!(end.row, gave, 1);
    ends::set!(end.row, empty, u8::from(kernel::unread(sock) == Some(0)));
    let waits = kernel::waits(sock);
    let call = kernel::call();
    let ulp = kernel::has_ulp(sock);
    let option = kernel::has_tcp_only_option(sock);
    let read = Read {
        nonblocking,
        // kTLS reads its own way once it is set up, be it in whoever's context.
        recv_like: if ulp {
            Some(false)
        } else if matches!(waits, Waits::NotByEpoll) && !empty {
            // nginx reads before it asks epoll: only who comes back without epoll shows
            // that it waits by other means, which are all level-triggered.
            None
        } else {
            call.is_recv_like()
        },
        rcvlowat: kernel::rcvlowat(sock),
        tcp_only: call.recv_flags() & MSG_TRUNC != 0 || option,
        edge: matches!(waits, Waits::Edge | Waits::Unknown),
        stopped_short: gave && empty && signals::sees_ends(),
        zerocopy: kernel::has_zerocopy(sock),
        other_program: listens && known.is_other(executable),
    };
    let facts = End {
        nonblocking: Some(nonblocking),
        ulp,
        tcp_only: option,
    };
    (read, facts)
}

/// Has an end come in that may by now, or leave that may not any more.
#[inline(always)]
fn place(end: Tracked, known: Known, facts: End) {
    let row = end.row();
    match known::come_in(&row.program, known.now(), (row.scope, row.hop), facts) {
        // One that would be alone comes in with the other end.
        Ok(()) if row.alone != 0 => {
            if is_proven(known.now()) {
                ends::be_quiet(end.row, KNOWN);
            }
        }
        Ok(()) if row.joined == 0 && row.told == 0 && row.peer != 0 && !signals::is_off() => {
            ends::set!(end.row, told, 1);
            events::tell(event::JOIN, end.cookie);
        }
        Ok(()) => {}
        Err(Reason::Observed) if row.joined != 0 => {}
        Err(reason) => {
            ends::leave_out(end.row, reason);
            ends::let_leave(end.cookie);
        }
    }
}

/// `sock_recv_length(struct sock *sk, int ret, int flags)`: a receiving call is over.
#[inline(always)]
pub(crate) fn traced_end(ctx: &RawTracePointContext) {
    // SAFETY: the context is the array of the tracepoint's arguments; it has three.
    let [sock, result, _flags] = unsafe { *ctx.as_ptr().cast::<[u64; 3]>() };
    if found_nothing(result) {
        ended(At::sock(sock));
    }
}

/// The end of `inet_recvmsg` or `inet6_recvmsg(struct socket *sock, struct msghdr *msg,
/// size_t size, int flags)` (5.10 to 7.2).
#[inline(always)]
pub(crate) fn function_end(ctx: &FExitContext) {
    if found_nothing(ctx.arg(4))
        && let Some(sock) = kernel::sock_of(ctx.arg(0))
    {
        ended(sock);
    }
}

/// Whether it matters of every program if it reads to the end.
#[inline(always)]
fn always() -> bool {
    kernel::fionread() != fionread::RIGHT
}

/// Every socket's calls come by here: those that gave something end at once.
#[inline(always)]
fn found_nothing(result: u64) -> bool {
    result & 0xffff_ffff == AGAIN
}

#[inline(always)]
fn ended(sock: At) {
    callers::note();
    let Some(end) = Tracked::of(sock) else {
        return;
    };
    let row = end.row();
    if row.is_quiet() {
        return;
    }
    let gave = row.gave != 0;
    ends::set!(end.row, gave, 0);
    ends::set!(end.row, empty, 1);
    if !gave || row.program.id == 0 {
        return;
    }
    let program = row.program;
    let Some(known) = Known::open(&program) else {
        return;
    };
    if !wants_ends(known.now(), always()) {
        return;
    }
    known.count_end();
    if to_end(known.now()) {
        known.set(sign::TO_END);
        known.close();
        known::share(&program.whole(kernel::executable()), known.now());
        let facts = End {
            nonblocking: kernel::nonblocking(sock),
            ulp: kernel::has_ulp(sock),
            tcp_only: kernel::has_tcp_only_option(sock),
        };
        place(end, known, facts);
    }
}

/// `inet_sk_error_report(const struct sock *sk)`: the socket has an error to tell, and its connection
/// may go on (`IP_RECVERR`). In the sockhash `tcp_bpf_recvmsg` answers `EAGAIN` for as long as nobody
/// takes the error, while poll reports it; so the end leaves.
#[inline(always)]
pub(crate) fn error(ctx: &RawTracePointContext) {
    if let Some(end) = Tracked::of(argument(ctx)) {
        ends::let_leave(end.cookie);
    }
}

/// `tcp_ioctl(struct sock *sk, int cmd, ...)`, or `tcp_bpf_ioctl` with the same arguments.
#[inline(always)]
pub(crate) fn ioctl(ctx: &FEntryContext) {
    let cmd: u32 = ctx.arg(1);
    if cmd == SIOCINQ {
        unfit(At::sock(ctx.arg(0)), sign::FIONREAD);
    }
}

/// `tcp_splice_read(struct socket *sock, ...)`.
#[inline(always)]
pub(crate) fn splice(ctx: &FEntryContext) {
    if let Some(sock) = kernel::sock_of(ctx.arg(0)) {
        unfit(sock, sign::OTHER_READ);
    }
}

/// The program of an end does what only TCP's own queues serve. Where it is joined it leaves, and
/// comes in again if it may as it is known now.
#[inline(always)]
fn unfit(sock: At, sign: usize) {
    let Some(end) = Tracked::of(sock) else {
        return;
    };
    let executable = kernel::executable();
    let program = end.program(executable);
    if let Some(known) = Known::open(&program) {
        known.set(sign);
        if known.close() {
            known::share(&program.whole(executable), known.now());
        }
    }
    ends::let_leave(end.cookie);
}

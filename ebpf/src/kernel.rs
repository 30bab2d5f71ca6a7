//! Reading kernel fields that no program context offers.
//!
//! Every read goes through `bpf_probe_read_kernel` (kernel 5.5), which faults
//! safely, so a stale pointer yields an error or old bytes, never a crash.
//! Offsets come from the kernel's BTF; a missing one reads as `None`.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_jiffies64, bpf_probe_read_kernel};
use sockway_common::config::{Config, UNKNOWN};
use sockway_common::flow::Ends;

/// Set by user space before the programs are loaded.
#[unsafe(no_mangle)]
static CONFIG: Config = Config::UNSET;

/// `O_NONBLOCK` of `struct file.f_flags`, include/uapi/asm-generic/fcntl.h
/// (the same on x86-64 and arm64).
const O_NONBLOCK: u32 = 0o4000;

/// Tag bits of `sk_user_data`, include/net/sock.h `SK_USER_DATA_PTRMASK`.
const USER_DATA_TAGS: u64 = 7;

/// Entries of `ingress_msg` that are walked at most where the kernel keeps no sum.
const MAX_WALK: u32 = 64;

/// Reads one field of [`CONFIG`].
///
/// Volatile: the compiler knows the value in the source, user space sets another.
macro_rules! config {
    ($($field:tt)+) => {{
        let field = &raw const CONFIG.$($field)+;
        // SAFETY: `field` points to an aligned, initialised u32 of a static.
        unsafe { core::ptr::read_volatile(field) }
    }};
}

mod memory;

pub(crate) use memory::{memory_is_short, pod_is_full};

pub(crate) fn backlog_limit() -> u32 {
    config!(backlog_limit)
}

/// See [`Config::blind`].
#[cfg(feature = "bench")]
pub(crate) fn blind() -> bool {
    config!(blind) != 0
}

pub(crate) fn total_cap() -> u32 {
    config!(total_cap)
}

/// Seconds; 0: never.
pub(crate) fn keepalive_idle() -> u32 {
    config!(keepalive_idle)
}

/// Timer ticks since the machine started (kernel 5.6; a plain load once it is compiled).
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: the helper takes nothing and gives a number.
    unsafe { bpf_jiffies64() }
}

/// Reads an unsigned integer at an offset; `None` where that cannot be done.
#[inline(always)]
pub(crate) fn read<T: Default>(base: u64, offset: u32) -> Option<T> {
    if offset == UNKNOWN || base == 0 {
        return None;
    }
    let mut value = T::default();
    #[expect(clippy::cast_possible_truncation, reason = "8 at most")]
    let size = size_of::<T>() as u32;
    let from = base.wrapping_add(u64::from(offset));
    // SAFETY: `value` is a live local of `size_of::<T>()` bytes that any bit
    // pattern is valid for (unsigned integers only); the helper checks `from` itself.
    let failed = unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size,
            from as *const core::ffi::c_void,
        )
    };
    if failed == 0 { Some(value) } else { None }
}

/// The `struct sock` behind a `sock_ops` context; also for request sockets,
/// whose `sk` the context itself hides.
#[inline(always)]
pub(crate) fn sops_sock(ctx: *mut core::ffi::c_void) -> Option<u64> {
    read(ctx as u64, config!(offsets.sops_sk))
}

/// `(client's, server's)` initial sequence numbers of a request socket.
#[inline(always)]
pub(crate) fn request_isns(sock: u64) -> Option<(u32, u32)> {
    let client = read(sock, config!(offsets.req_rcv_isn))?;
    let server = read(sock, config!(offsets.req_snt_isn))?;
    Some((client, server))
}

/// The `struct sock` of a `struct socket`.
#[inline(always)]
pub(crate) fn sock_of(socket: u64) -> Option<u64> {
    read(socket, config!(offsets.socket_sk))
}

#[inline(always)]
pub(crate) fn cookie(sock: u64) -> Option<u64> {
    read(sock, config!(offsets.sk_cookie))
}

/// Whether the socket's file has `O_NONBLOCK`; `None` while it has no file
/// (not accepted yet) or where the kernel cannot be asked.
#[inline(always)]
pub(crate) fn nonblocking(sock: u64) -> Option<bool> {
    file_nonblocking(file(sock)?)
}

/// Epoll sets of a file that are looked at.
const MAX_SETS: u32 = 4;
/// `EPOLLET` of include/uapi/linux/eventpoll.h.
const EPOLLET: u32 = 1 << 31;

/// How an application waits for a socket.
pub(crate) enum Waits {
    /// In an epoll set, level-triggered.
    Level,
    /// In an epoll set with `EPOLLET`.
    Edge,
    /// In no epoll set now.
    NotByEpoll,
    /// The kernel cannot be asked.
    Unknown,
}

/// Asks the epoll sets that the socket's file is in.
#[inline(always)]
pub(crate) fn waits(sock: u64) -> Waits {
    sets(sock).unwrap_or(Waits::Unknown)
}

#[inline(always)]
fn sets(sock: u64) -> Option<Waits> {
    let (link, events) = (config!(offsets.epitem_link), config!(offsets.epitem_events));
    if link == UNKNOWN || events == UNKNOWN {
        return None;
    }
    let file = file(sock)?;
    // A list that ends with null behind a pointer; until 5.10 a ring in the file itself.
    let (head, end) = if config!(offsets.file_ep) != UNKNOWN {
        (read(file, config!(offsets.file_ep))?, 0)
    } else if config!(offsets.file_ep_links) != UNKNOWN {
        let ring = file.wrapping_add(u64::from(config!(offsets.file_ep_links)));
        (ring, ring)
    } else {
        return None;
    };
    if head == 0 {
        return Some(Waits::NotByEpoll);
    }
    let mut node: u64 = read(head, 0)?;
    if node == end {
        return Some(Waits::NotByEpoll);
    }
    for _ in 0..MAX_SETS {
        let asked: u32 = read(node.wrapping_sub(u64::from(link)), events)?;
        if asked & EPOLLET != 0 {
            return Some(Waits::Edge);
        }
        node = read(node, 0)?;
        if node == end {
            return Some(Waits::Level);
        }
    }
    None
}

/// Bytes in a socket's TCP queue that were not read.
#[inline(always)]
pub(crate) fn unread(sock: u64) -> Option<u32> {
    let copied: u32 = read(sock, config!(offsets.tcp_copied_seq))?;
    let next: u32 = read(sock, config!(offsets.tcp_rcv_nxt))?;
    Some(next.wrapping_sub(copied))
}

/// Bits of `sk_flags` (`enum sock_flags` of include/net/sock.h, the same from 5.10 to 7.2):
/// `SOCK_RCVTSTAMP`, `SOCK_RCVTSTAMPNS`, `SOCK_ZEROCOPY`.
const TCP_ONLY_FLAGS: u64 = 1 << 11 | 1 << 12 | 1 << 18;

/// True where the socket has an option that only TCP's own queues serve: a time
/// stamp with the data, completions of `MSG_ZEROCOPY`, `SO_PEEK_OFF`, `TCP_INQ`.
#[inline(always)]
pub(crate) fn has_tcp_only_option(sock: u64) -> bool {
    let flags: u64 = read(sock, config!(offsets.sk_flags)).unwrap_or(0);
    // The lower half holds all of `SO_TIMESTAMPING`'s flags that 5.10 knows.
    let stamps: u16 = read(sock, config!(offsets.sk_tsflags)).unwrap_or(0);
    let peek: u32 = read(sock, config!(offsets.sk_peek_off)).unwrap_or(u32::MAX);
    flags & TCP_ONLY_FLAGS != 0 || stamps != 0 || peek.cast_signed() >= 0 || has_inq(sock)
}

/// `TCP_INQ`, one bit of a byte.
#[inline(always)]
fn has_inq(sock: u64) -> bool {
    let bit = config!(offsets.tcp_recvmsg_inq_bit);
    if bit == UNKNOWN {
        return false;
    }
    let byte: u8 = read(sock, bit / 8).unwrap_or(0);
    byte >> (bit % 8) & 1 != 0
}

/// True where urgent data ever came to the socket.
#[inline(always)]
pub(crate) fn had_urgent(sock: u64) -> bool {
    let seq: Option<u32> = read(sock, config!(offsets.tcp_urg_seq));
    matches!(seq, Some(seq) if seq != 0)
}

/// True where the connection ended with an error (reset, timed out).
#[inline(always)]
pub(crate) fn failed(sock: u64) -> bool {
    let error: Option<u32> = read(sock, config!(offsets.sk_err));
    matches!(error, Some(error) if error != 0)
}

/// The address of the socket's `struct file`; `None` as for [`nonblocking`].
///
/// A socket keeps its file for as long as it has one.
#[inline(always)]
pub(crate) fn file(sock: u64) -> Option<u64> {
    let socket: u64 = read(sock, config!(offsets.sk_socket))?;
    let file: u64 = read(socket, config!(offsets.socket_file))?;
    if file == 0 { None } else { Some(file) }
}

/// Whether a connection's accepting end has been accepted; true where the kernel cannot be asked.
///
/// `accept` charges a socket to the memory cgroup of the process that calls it, with the bytes in
/// `sk_rmem_alloc` (`net/ipv4/inet_connection_sock.c` `inet_csk_accept`). Redirected ones
/// are not among those before 6.13 (and late 6.1.y and 6.12.y): once read they were given back without having been
/// charged, and a pod whose count falls below zero has its processes killed (seen on 5.10).
#[inline(always)]
pub(crate) fn is_accepted(sock: u64) -> bool {
    let socket: Option<u64> = read(sock, config!(offsets.sk_socket));
    socket != Some(0)
}

/// Whether a file has `O_NONBLOCK`.
#[inline(always)]
pub(crate) fn file_nonblocking(file: u64) -> Option<bool> {
    let flags: u32 = read(file, config!(offsets.file_flags))?;
    Some(flags & O_NONBLOCK != 0)
}

/// `SO_RCVLOWAT`; 1 where the kernel cannot be asked.
#[inline(always)]
pub(crate) fn rcvlowat(sock: u64) -> u32 {
    read(sock, config!(offsets.sk_rcvlowat)).unwrap_or(1)
}

/// The socket owner's uid, which Istio's rules tell Envoy by.
#[inline(always)]
pub(crate) fn uid(sock: u64) -> Option<u32> {
    read(sock, config!(offsets.sk_uid))
}

/// Whether the socket has `SO_KEEPALIVE`.
#[inline(always)]
pub(crate) fn keeps_alive(sock: u64) -> Option<bool> {
    /// `SOCK_KEEPOPEN` of `enum sock_flags`, include/net/sock.h (5.10 to 7.2).
    const SOCK_KEEPOPEN: u32 = 3;
    let flags: u64 = read(sock, config!(offsets.sk_flags))?;
    Some(flags & (1 << SOCK_KEEPOPEN) != 0)
}

/// True where the socket has an upper-layer protocol (kTLS, MPTCP).
#[inline(always)]
pub(crate) fn has_ulp(sock: u64) -> bool {
    let ops: Option<u64> = read(sock, config!(offsets.icsk_ulp_ops));
    matches!(ops, Some(ops) if ops != 0)
}

#[inline(always)]
pub(crate) fn rcv_nxt(sock: u64) -> Option<u32> {
    read(sock, config!(offsets.tcp_rcv_nxt))
}

/// What rule 1 needs to know of both ends.
#[inline(always)]
pub(crate) fn ends(sender: u64, receiver: u64) -> Option<Ends> {
    Some(Ends {
        snd_una: read(sender, config!(offsets.tcp_snd_una))?,
        write_seq: read(sender, config!(offsets.tcp_write_seq))?,
        copied_seq: read(receiver, config!(offsets.tcp_copied_seq))?,
        rcv_nxt: read(receiver, config!(offsets.tcp_rcv_nxt))?,
        // Read last: a reader seen outside its call now begins its next call anew.
        owned: read(receiver, config!(offsets.sk_lock_owned))?,
    })
}

/// `(sk_rcvbuf, sk_rmem_alloc)` of a reader, bytes.
#[inline(always)]
pub(crate) fn receive_buffer(sock: u64) -> Option<(u32, u32)> {
    let rcvbuf = read(sock, config!(offsets.sk_rcvbuf))?;
    let rmem = read(sock, config!(offsets.sk_rmem_alloc))?;
    Some((rcvbuf, rmem))
}

/// What is known of a reader's redirected queue.
pub(crate) enum Backlog {
    /// Bytes that wait.
    Bytes(u32),
    /// More messages than were counted.
    Long,
    /// The socket has no psock any more.
    Gone,
    /// The kernel cannot be asked.
    Unknown,
}

/// Redirected bytes that wait at a socket.
#[inline(always)]
pub(crate) fn backlog(sock: u64) -> Backlog {
    if config!(offsets.sk_user_data) == UNKNOWN {
        return Backlog::Unknown;
    }
    let Some(data) = read::<u64>(sock, config!(offsets.sk_user_data)) else {
        return Backlog::Gone;
    };
    let psock = data & !USER_DATA_TAGS;
    if psock == 0 {
        return Backlog::Gone;
    }
    if config!(offsets.psock_msg_tot_len) != UNKNOWN {
        return match read(psock, config!(offsets.psock_msg_tot_len)) {
            Some(bytes) => Backlog::Bytes(bytes),
            None => Backlog::Gone,
        };
    }
    walk(psock)
}

/// Adds up `ingress_msg` entry by entry, for kernels without `msg_tot_len`.
///
/// The list may change meanwhile: every step is a checked read and the number
/// of steps is bounded, so the worst is a wrong sum.
#[inline(always)]
fn walk(psock: u64) -> Backlog {
    let (head, link) = (
        config!(offsets.psock_ingress_msg),
        config!(offsets.msg_list),
    );
    if head == UNKNOWN || link == UNKNOWN || config!(offsets.msg_size) == UNKNOWN {
        return Backlog::Unknown;
    }
    let head = psock + u64::from(head);
    let Some(mut at) = read::<u64>(head, 0) else {
        return Backlog::Gone;
    };
    let mut bytes = 0u32;
    for _ in 0..MAX_WALK {
        if at == head {
            return Backlog::Bytes(bytes);
        }
        let msg = at.wrapping_sub(u64::from(link));
        let Some(size) = read::<u32>(msg, config!(offsets.msg_size)) else {
            return Backlog::Gone;
        };
        bytes = bytes.saturating_add(size);
        let Some(next) = read::<u64>(at, 0) else {
            return Backlog::Gone;
        };
        at = next;
    }
    Backlog::Long
}

/// True where the socket has socket storage of any program: cheap to ask, so
/// that sockets nobody watches cost one read.
#[inline(always)]
pub(crate) fn has_storage(sock: u64) -> bool {
    let storage: Option<u64> = read(sock, config!(offsets.sk_bpf_storage));
    matches!(storage, Some(storage) if storage != 0)
}

/// Extra words at the top of the kernel stack: none, or two on x86-64 kernels
/// with FRED (`arch/x86/include/asm/thread_info.h` `TOP_OF_KERNEL_STACK_PADDING`).
const STACK_PADDINGS: [u32; 2] = [0, 16];

/// The system call that the current task is in.
///
/// No `Option`: the verifier of 5.10 refuses the undefined half that a `None` has.
pub(crate) struct Call {
    regs: u64,
    number: u32,
}

/// The system call of the current task, as far as that can be told; not, for
/// example, in a kernel thread.
#[inline(always)]
pub(crate) fn call() -> Call {
    let mut call = Call {
        regs: 0,
        number: UNKNOWN,
    };
    // SAFETY: the helper takes nothing and gives the running task's address.
    let task = unsafe { bpf_get_current_task() };
    let size = config!(offsets.regs_size);
    let Some(stack) = read::<u64>(task, config!(offsets.task_stack)) else {
        return call;
    };
    if size == UNKNOWN {
        return call;
    }
    let top = stack.wrapping_add(u64::from(config!(arch.stack_size)));
    for padding in STACK_PADDINGS {
        let regs = top
            .wrapping_sub(u64::from(padding))
            .wrapping_sub(u64::from(size));
        let mode: u32 = read(regs, config!(offsets.regs_mode)).unwrap_or(UNKNOWN);
        if mode & config!(arch.mode_mask) == config!(arch.mode_user) {
            call.regs = regs;
            call.number = read(regs, config!(offsets.regs_call)).unwrap_or(UNKNOWN);
            return call;
        }
    }
    call
}

impl Call {
    /// `read`, `readv`, `recvfrom`, `recvmsg` or `recvmmsg`; `None` where that cannot be told.
    #[inline(always)]
    pub(crate) fn is_recv_like(&self) -> Option<bool> {
        if self.number == UNKNOWN {
            return None;
        }
        Some(
            self.number == config!(arch.recv_calls[0])
                || self.number == config!(arch.recv_calls[1])
                || self.number == config!(arch.recv_calls[2])
                || self.number == config!(arch.recv_calls[3])
                || self.number == config!(arch.recv_calls[4]),
        )
    }

    /// The flags of a `recv`-like call; 0 for calls that have none.
    #[inline(always)]
    pub(crate) fn recv_flags(&self) -> u32 {
        if self.number == config!(arch.recv_calls[2]) || self.number == config!(arch.recv_calls[4])
        {
            self.argument(config!(offsets.regs_fourth))
        } else if self.number == config!(arch.recv_calls[3]) {
            self.argument(config!(offsets.regs_third))
        } else {
            0
        }
    }

    /// The flags of `sendto`, `sendmsg` or `sendmmsg`; 0 for other calls.
    #[inline(always)]
    pub(crate) fn send_flags(&self) -> u32 {
        if self.number == config!(arch.send_calls[0]) || self.number == config!(arch.send_calls[2])
        {
            self.argument(config!(offsets.regs_fourth))
        } else if self.number == config!(arch.send_calls[1]) {
            self.argument(config!(offsets.regs_third))
        } else {
            0
        }
    }

    /// The lower half of an argument: flags are an int.
    #[inline(always)]
    fn argument(&self, offset: u32) -> u32 {
        let value: u64 = read(self.regs, offset).unwrap_or(0);
        let [a, b, c, d, ..] = value.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

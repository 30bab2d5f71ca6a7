//! Iterators over TCP sockets: bring in connections that were open before the
//! `sock_ops` program was attached.
//!
//! User space reads what `look` tells of every socket, finds the two ends of a
//! connection by their sequence numbers, and has `join` put both into the
//! sockhash, first *held* on TCP, then open for rule 1.
//!
//! From 6.5 on the kernel holds the socket's lock while an iterator sees it
//! (`net/ipv4/tcp_ipv4.c` `bpf_iter_tcp_seq_show`), as for a socket's own
//! callbacks and sends, so states may be written here. Before, putting a socket
//! into a sockhash from here could stop the machine: user space checks.

mod join;
mod look;

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_seq_write};
use core::ffi::c_void;
use sockway_common::existing::Fields;

use crate::kernel;
use crate::kernel::At;
pub(crate) use join::join;
pub(crate) use look::look;

/// Set by user space before the programs are loaded.
#[unsafe(no_mangle)]
static EXISTING: Fields = Fields::NONE;

/// `TCP_ESTABLISHED` of `include/net/tcp_states.h`.
const TCP_ESTABLISHED: u8 = 1;

/// Reads one field of [`EXISTING`]; volatile as in `kernel`.
macro_rules! field {
    ($name:ident) => {{
        let field = &raw const $crate::existing::EXISTING.$name;
        // SAFETY: `field` points to an aligned, initialised u32 of a static.
        unsafe { core::ptr::read_volatile(field) }
    }};
}
use field;

/// `struct bpf_iter__tcp` of `net/ipv4/tcp_ipv4.c`.
#[repr(C)]
struct Raw {
    /// `struct bpf_iter_meta`, whose first field is the `seq_file`.
    meta: *mut *mut c_void,
    /// The socket; null at the end.
    sk_common: *mut c_void,
}

/// An iterator's context.
pub(crate) struct Context(*mut Raw);

impl Context {
    pub(crate) const fn new(ctx: *mut c_void) -> Self {
        Self(ctx.cast())
    }

    /// The socket, as the pointer that the verifier tracks.
    #[inline(always)]
    fn sk(&self) -> *mut c_void {
        // SAFETY: the running program's own context; only an address is taken.
        let field = unsafe { &raw const (*self.0).sk_common };
        // SAFETY: as above; the verifier checks the access.
        unsafe { core::ptr::read_volatile(field) }
    }

    /// The socket's address as a number.
    #[inline(always)]
    fn sock(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "8")]
        let offset = core::mem::offset_of!(Raw, sk_common) as u32;
        kernel::read(self.0 as u64, offset).unwrap_or(0)
    }

    /// Hands a record to whoever reads the iterator.
    #[inline(always)]
    fn tell<T>(&self, record: &T) {
        #[expect(clippy::cast_possible_truncation, reason = "records are small")]
        let size = size_of::<T>() as u32;
        // SAFETY: the running program's own context; only an address is taken.
        let field = unsafe { &raw const (*self.0).meta };
        // SAFETY: as above; the verifier checks the access.
        let meta = unsafe { core::ptr::read_volatile(field) };
        // SAFETY: the verifier tracks `meta` as the kernel's own structure.
        let seq = unsafe { core::ptr::read_volatile(meta) };
        // A full buffer makes the kernel show this socket again.
        // SAFETY: `record` is fully initialised and has no padding.
        let _full = unsafe { bpf_seq_write(seq.cast(), core::ptr::from_ref(record).cast(), size) };
    }
}

/// The cookie of a socket; the kernel makes one where there is none yet.
#[inline(always)]
fn cookie(sk: *mut c_void) -> u64 {
    // SAFETY: `sk` is the context's non-null socket.
    unsafe { bpf_get_socket_cookie(sk) }
}

#[inline(always)]
fn established(sock: u64) -> bool {
    kernel::read::<u8>(sock, field!(state)) == Some(TCP_ESTABLISHED)
}

/// True where something about the socket is served by TCP's own queues only.
#[inline(always)]
fn tcp_only(sock: At) -> bool {
    kernel::rcvlowat(sock) > 1 || kernel::has_tcp_only_option(sock) || kernel::had_urgent(sock)
}

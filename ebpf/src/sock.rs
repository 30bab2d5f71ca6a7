//! What a socket carries: its state in socket storage.

use aya_ebpf::bindings::BPF_SK_STORAGE_GET_F_CREATE;
use aya_ebpf::helpers::generated::{bpf_sk_storage_delete, bpf_sk_storage_get};
use sockway_common::state::SockState;

use crate::maps::STATE;

/// The state of a socket; `None` for sockets that Sockway does not know.
///
/// `sk` is the socket pointer of a program's own context, which the verifier
/// tracks. Socket storage in `sk_msg`: kernel 5.8 (commit 13d70f5a5ecf).
#[inline(always)]
pub(crate) fn get<'a>(sk: *mut core::ffi::c_void) -> Option<&'a mut SockState> {
    state(sk, 0)
}

/// Makes the state of a socket where it has none, all zero; `None` where the kernel has no memory for it.
///
/// Filled in place: copies of it would not fit the stack.
#[inline(always)]
pub(crate) fn create<'a>(sk: *mut core::ffi::c_void) -> Option<&'a mut SockState> {
    state(sk, BPF_SK_STORAGE_GET_F_CREATE)
}

/// The same for one that connects: of an earlier connection of it nothing is left.
#[inline(always)]
pub(crate) fn begin<'a>(sk: *mut core::ffi::c_void) -> Option<&'a mut SockState> {
    let state = create(sk)?;
    // SAFETY: all zero is a value of it, and the reference is the only one.
    unsafe { core::ptr::write_bytes(state, 0, 1) };
    Some(state)
}

/// Takes it away again.
#[inline(always)]
pub(crate) fn end(sk: *mut core::ffi::c_void) {
    let map = (&raw const STATE).cast_mut().cast();
    // SAFETY: as in `state`; nobody holds a reference into it any more. Kernel 5.2.
    let _none = unsafe { bpf_sk_storage_delete(map, sk) };
}

#[inline(always)]
fn state<'a>(sk: *mut core::ffi::c_void, flags: u32) -> Option<&'a mut SockState> {
    let map = (&raw const STATE).cast_mut().cast();
    // SAFETY: `map` is a socket storage map and `sk` a non-null socket of the
    // running context; a null initial value makes the kernel zero a new one.
    let state = unsafe { bpf_sk_storage_get(map, sk, core::ptr::null_mut(), u64::from(flags)) };
    // SAFETY: null, or a value that lives as long as the socket, which outlives
    // this run. The kernel runs a socket's sends and callbacks under its lock,
    // so no other reference is in use.
    unsafe { state.cast::<SockState>().as_mut() }
}

//! What a socket carries: its state in socket storage.

use aya_ebpf::bindings::BPF_SK_STORAGE_GET_F_CREATE;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use sockway_common::state::SockState;

use crate::maps::STATE;

/// The state of a socket; `None` for sockets that Sockway does not know.
///
/// `sk` is the socket pointer of a program's own context, which the verifier
/// tracks. Socket storage in `sk_msg`: kernel 5.8 (commit 13d70f5a5ecf).
#[inline(always)]
pub(crate) fn get<'a>(sk: *mut core::ffi::c_void) -> Option<&'a mut SockState> {
    // SAFETY: `STATE` is a socket storage map and `sk` a non-null socket of the
    // running context; the helper returns null or a value that lives as long
    // as the socket, which outlives this run. The kernel runs a socket's sends
    // and callbacks under its lock, so no other reference is in use.
    let state = unsafe {
        bpf_sk_storage_get(
            map(),
            sk,
            core::ptr::null_mut(),
            u64::from(BPF_SK_STORAGE_GET_F_CREATE),
        )
    };
    // SAFETY: see above.
    unsafe { state.cast::<SockState>().as_mut() }
}

#[inline(always)]
fn map() -> *mut core::ffi::c_void {
    (&raw const STATE).cast_mut().cast()
}

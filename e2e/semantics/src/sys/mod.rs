//! The system calls that no crate wraps as the cases need them: the only `unsafe` here.

mod descriptors;
mod errors;
mod messages;
mod options;
mod processes;
mod rings;

pub(crate) use descriptors::{pending, read, recv, send, send_connecting, wait_for, write};
pub(crate) use errors::{destroy, unreachable};
pub(crate) use messages::{
    Control, receive_descriptor, recv_discarding, recv_many, recv_parts, send_descriptor,
    send_many, send_parts,
};
pub(crate) use options::{cookie, get, get_bytes, set, set_bytes, tcp_info};
pub(crate) use processes::{Forked, exec_copy, fork, handle, interrupt_thread, own, thread_id};
pub(crate) use rings::Ring;

use nix::errno::Errno;

/// What a call gave.
pub(crate) type Got<T> = Result<T, Errno>;

/// A byte count out of a call's result.
fn count(result: isize) -> Got<usize> {
    usize::try_from(result).map_err(|_| Errno::last())
}

/// Success or not out of a call's result.
fn done(result: i32) -> Got<()> {
    if result < 0 {
        Err(Errno::last())
    } else {
        Ok(())
    }
}

/// The number behind an [`std::io::Error`].
pub(crate) fn errno(error: &std::io::Error) -> Errno {
    error
        .raw_os_error()
        .map_or(Errno::UnknownErrno, Errno::from_raw)
}

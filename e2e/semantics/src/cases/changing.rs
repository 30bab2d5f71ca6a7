//! Applications that were found fit and then change their ways, on one connection.
//!
//! Calls and options of the other topics, new to the address they are used at.

use super::{modes, options, queues, reading, sending, splicing, urgent, vectors};
use crate::case::Case;

pub(super) const CASES: &[Case] = cases! {
    "O_NONBLOCK cleared, once": "fcntl(2): reads wait from then on" => modes::blocking_late, changes();
    "MSG_WAITALL once": "recv(2): waits for all, once O_NONBLOCK is cleared" => modes::waitall_late, changes();
    "SO_TIMESTAMPNS once": "socket(7): recvmsg tells when the bytes came" => vectors::timestamps, changes();
    "TCP_INQ once": "linux/tcp.h: recvmsg tells how many bytes are left" => queues::inquire, changes();
    "MSG_TRUNC once": "tcp(7): throws bytes away instead of copying them" => reading::trunc, changes();
    "MSG_ZEROCOPY once": "kernel networking/msg_zerocopy: every send is completed on the error queue"
        => sending::zero_copy, changes();
    "MSG_OOB once": "tcp(7): the peer gets one urgent byte beside the stream" => urgent::urgent_sent, changes();
    "kTLS once": "kernel networking/tls: after the set-up records, not bytes, are sent" => options::tls, changes();
    "splice once": "splice(2): goes on where recv(2) stopped" => splicing::recv_then_splice, changes();
};

//! Applications that were found fit and then change their ways, on one connection.
//!
//! Calls and options of the other topics, new to the address they are used at.

use std::time::Duration;

use super::{modes, options, queues, reading, sending, splicing, urgent, vectors};
use crate::case::Case;
use crate::variant::Kind;

pub(super) const CASES: &[Case] = &[
    first(Case::new(
        "O_NONBLOCK cleared, once",
        "fcntl(2): reads wait from then on",
        modes::blocking_late,
    )),
    first(Case::new(
        "MSG_WAITALL once",
        "recv(2): waits for all, once O_NONBLOCK is cleared",
        modes::waitall_late,
    )),
    first(Case::new(
        "SO_TIMESTAMPNS once",
        "socket(7): recvmsg tells when the bytes came",
        vectors::timestamps,
    )),
    first(Case::new(
        "TCP_INQ once",
        "linux/tcp.h: recvmsg tells how many bytes are left",
        queues::inquire,
    )),
    first(Case::new(
        "MSG_TRUNC once",
        "tcp(7): throws bytes away instead of copying them",
        reading::trunc,
    )),
    first(Case::new(
        "MSG_ZEROCOPY once",
        "kernel networking/msg_zerocopy: every send is completed on the error queue",
        sending::zero_copy,
    )),
    first(Case::new(
        "MSG_OOB once",
        "tcp(7): the peer gets one urgent byte beside the stream",
        urgent::urgent_sent,
    )),
    first(Case::new(
        "kTLS once",
        "kernel networking/tls: after the set-up records, not bytes, are sent",
        options::tls,
    )),
    first(Case::new(
        "splice once",
        "splice(2): goes on where recv(2) stopped",
        splicing::recv_then_splice,
    )),
];

/// Only non-blocking applications are ever found fit. None of the cases takes long, and one hangs.
const fn first(case: Case) -> Case {
    let case = case.only(Kind::NONBLOCKING);
    Case {
        limit: Duration::from_secs(10),
        ..case.may_be_left().for_the_first_time()
    }
}

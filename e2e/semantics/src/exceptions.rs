//! What is known not to hold, and why. Everything else that does not hold is a failure, and so
//! is an entry here that does hold.

use crate::variant::{Kind, Kinds};

/// One known exception.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exception {
    /// Names of the cases that show it.
    pub(crate) cases: &'static [&'static str],
    /// The kinds of application that see it.
    pub(crate) kinds: Kinds,
    /// What they see and why.
    pub(crate) reason: &'static str,
}

/// The list.
pub(crate) const KNOWN: &[Exception] = &[
    Exception {
        cases: &[
            "unread data at close",
            "unread data at Envoy's close",
            "killed with unread data",
        ],
        kinds: Kind::NONBLOCKING,
        reason: "the peer sees an ordinary end instead of ECONNRESET: tcp_close looks for unread \
                 bytes in the TCP queue only, not in the redirected one",
    },
    Exception {
        cases: &["TCP_INFO bytes"],
        kinds: Kind::NONBLOCKING,
        reason: "tcpi_bytes_acked and tcpi_bytes_received count what went by TCP, not what was \
                 redirected",
    },
    Exception {
        cases: &[
            "MSG_TRUNC once",
            "MSG_OOB once",
            "MSG_ZEROCOPY once",
            "splice once",
        ],
        kinds: Kind::NONBLOCKING,
        reason: "an application that was found fit changes its ways: the first call comes before \
                 anything can be done about it, from then on the address is left to TCP",
    },
    Exception {
        cases: &["ICMP unreachable with IP_RECVERR and bytes waiting"],
        kinds: Kind::NONBLOCKING,
        reason: "told some milliseconds after what waits was read: a connection leaves the sockhash \
                 only then",
    },
];

/// The exception of a case, if there is one.
pub(crate) fn of(case: &str) -> Option<&'static Exception> {
    KNOWN
        .iter()
        .find(|exception| exception.cases.contains(&case))
}

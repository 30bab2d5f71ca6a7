//! What can go wrong with a connection.

use std::io;

use crate::pattern::Mismatch;

/// A broken promise, as seen by one end.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Bytes that are not those sent.
    Wrong(Mismatch),
    /// The header or greeting is damaged: its bytes.
    Header(Vec<u8>),
    /// The client heard another greeting than the one that was said to it.
    Greeting { heard: u64, said: u64 },
    /// More bytes than were sent.
    Extra(usize),
    /// The stream ended early.
    Short { got: u64, want: u64 },
    /// A call failed.
    Io {
        call: &'static str,
        error: io::Error,
    },
    /// Nothing moved for so many seconds.
    Hang(u64),
}

impl Fault {
    /// Kinds that no end of a connection can excuse.
    pub(crate) const CORRUPT: [&str; 4] = ["wrong", "header", "greeting", "extra"];

    /// What is wrong, in a word.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Wrong(_) => "wrong",
            Self::Header(_) => "header",
            Self::Greeting { .. } => "greeting",
            Self::Extra(_) => "extra",
            Self::Short { .. } => "short",
            Self::Io { .. } => "io",
            Self::Hang(_) => "hang",
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wrong(mismatch) => mismatch.fmt(f),
            Self::Header(bytes) => write!(f, "damaged header: {bytes:02x?}"),
            Self::Greeting { heard, said } => {
                write!(
                    f,
                    "greeting of another connection: heard {heard:016x}, said {said:016x}"
                )
            }
            Self::Extra(bytes) => write!(f, "{bytes} bytes more than were sent"),
            Self::Short { got, want } => write!(f, "stream ended after {got} of {want} bytes"),
            Self::Io { call, error } => write!(f, "{call}: {error}"),
            Self::Hang(seconds) => write!(f, "hang: nothing moved for {seconds} s"),
        }
    }
}

/// True for the errors that a reset by the other end causes.
pub(crate) fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected
    )
}

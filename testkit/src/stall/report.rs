//! What a sender says.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What was taken of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Connections that were made.
    pub connections: usize,
    /// Bytes that the kernel took, of all connections.
    pub bytes: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, bytes } = self;
        writeln!(f, "{bytes} bytes were taken on {connections} connections")
    }
}

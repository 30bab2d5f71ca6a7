//! What `sockway-e2e soak` takes on its command line.

use clap::Args;

/// `soak`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Verified connections in all, spread over every path and manner
    #[arg(long, default_value_t = 200_000)]
    pub(crate) connections: u32,
    /// Most bytes of a connection's direction
    #[arg(long, default_value_t = 256 * 1024)]
    pub(crate) max_size: u32,
    /// Connections at a time
    #[arg(long, default_value_t = 64)]
    pub(crate) concurrency: u32,
    /// Without acceleration, for comparison
    #[arg(long)]
    pub(crate) plain: bool,
    /// Only parts whose name contains this
    #[arg(long, default_value = "")]
    pub(crate) only: String,
    /// Only these shapes of conversation (comma list)
    #[arg(long)]
    pub(crate) kinds: Option<String>,
    /// Key of everything random
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Seconds that one part may take
    #[arg(long, default_value_t = 1800)]
    pub(crate) limit: u64,
}

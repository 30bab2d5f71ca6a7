//! What `sockway-e2e soak` takes on its command line.

use std::path::PathBuf;

use clap::Args;

/// `soak`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  sockway-e2e soak --record soak.json
  sockway-e2e soak --connections 50000 --seed 7 --only two-envoys
  sockway-e2e soak --connections 50000 --plain")]
pub(crate) struct Options {
    /// Verified connections in all, spread over every path and manner
    #[arg(long, default_value_t = 1_000_000)]
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
    /// Seconds that all of it may take
    #[arg(long, default_value_t = 7200)]
    pub(crate) limit: u64,
    /// Write the results to this file as JSON, and beside it as Markdown (.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Say on standard error when a part is done
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) progress: bool,
}

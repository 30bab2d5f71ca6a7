//! What `sockway-e2e switches` takes on its command line.

use clap::Args;

/// `switches`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Of the times every tenth is an uninstall with an install after it; every third is killed in its midst
first and then done whole.

Examples:
  sockway-e2e switches
  sockway-e2e switches --connections 1000 --times 30")]
pub(crate) struct Options {
    /// Connections that are open all the while, each by way of three hops
    #[arg(long, default_value_t = 10_000)]
    pub(crate) connections: u32,
    /// How often all of it is taken off and comes back
    #[arg(long, default_value_t = 100)]
    pub(crate) times: u32,
    /// Seconds that all of it may take
    #[arg(long, default_value_t = 3600)]
    pub(crate) limit: u64,
}

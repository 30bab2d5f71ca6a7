//! What `sockway-e2e switches` takes on its command line.

use clap::Args;

/// `switches`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Of the times every tenth is an uninstall with an install after it; every third is killed in its midst
first and then done whole.

Examples:
  sockway-e2e switches
  sockway-e2e switches --conversations 1000 --times 30")]
pub(crate) struct Options {
    /// Conversations that go on all the while, each by way of three connections: application, Envoy, Envoy,
    /// application
    #[arg(long, default_value_t = 5_000)]
    pub(crate) conversations: u32,
    /// How often all of it is taken off and comes back
    #[arg(long, default_value_t = 100)]
    pub(crate) times: u32,
    /// Seconds that all of it may take
    #[arg(long, default_value_t = 3600)]
    pub(crate) limit: u64,
}

//! What `sockway-e2e demo` takes on its command line.

use clap::Args;
use sockway_testkit::mesh::mode::Mtls;

/// `demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Rounds; each measures plain and accelerated, TCP and HTTP
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// Milliseconds of each measurement
    #[arg(long, default_value_t = 1500)]
    pub(crate) duration: u64,
    /// Connections
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: u32,
    /// Bytes of a request
    #[arg(long, default_value_t = 1024)]
    pub(crate) size: u32,
    /// Worker threads of each Envoy
    #[arg(long, default_value_t = 2)]
    pub(crate) concurrency: u32,
    /// Whether the Envoys speak mutual TLS with each other
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) mtls: Mtls,
    /// Connections of verified traffic, for each address family
    #[arg(long, default_value_t = 2000)]
    pub(crate) integrity: u32,
}

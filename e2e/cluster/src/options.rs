//! What `sockway-cluster test` takes.

use std::path::PathBuf;

use clap::Args;

/// `test`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only these scenarios: install, article, features, outside, life, terway
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// In the cluster that is up already, which stays
    #[arg(long)]
    pub(crate) here: bool,
    /// Leave the cluster up where a scenario failed
    #[arg(long)]
    pub(crate) keep: bool,
    /// Rounds of each rate
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Seconds of each measured load
    #[arg(long, default_value_t = 3)]
    pub(crate) seconds: u32,
    /// Pods in the crowd that comes and goes
    #[arg(long, default_value_t = 60)]
    pub(crate) crowd: u32,
    /// terway's CNI plugin, which takes the stand-in's place
    #[arg(long, value_name = "FILE")]
    pub(crate) terway: Option<PathBuf>,
}

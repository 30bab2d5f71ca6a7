//! What `sockway-e2e test` takes on its command line.

use clap::Args;

/// `test`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Run only cases whose name contains one of these
    pub(crate) filters: Vec<String>,
    /// Print the names and run nothing
    #[arg(long)]
    pub(crate) list: bool,
}

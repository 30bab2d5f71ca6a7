//! What `sockway-e2e programs` takes on its command line.

use clap::Args;

/// `programs`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sockway-e2e programs
  sockway-e2e programs nginx redis
  sockway-e2e programs download --download 1024")]
pub(crate) struct Options {
    /// Run only programs whose name contains one of these
    pub(crate) filters: Vec<String>,
    /// Print the names and run nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Size of the download, MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) download: u32,
    /// Install only, without `sockway run` beside it
    #[arg(long)]
    pub(crate) no_keeper: bool,
    /// Say what share was redirected, but hold nobody to the bar
    #[arg(long)]
    pub(crate) no_bars: bool,
}

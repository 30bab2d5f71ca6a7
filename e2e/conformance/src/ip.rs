//! iproute2.

use anyhow::Result;
use sockway_testkit::command::Run;

/// `ip` with these arguments, separated by spaces.
pub(crate) fn ip(args: &str) -> Result<()> {
    Run::new("ip").args(args.split(' ')).done()
}

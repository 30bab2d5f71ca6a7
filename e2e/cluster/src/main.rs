//! `sockway-cluster`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sockway_cluster::run()
}

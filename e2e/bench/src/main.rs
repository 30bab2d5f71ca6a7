//! `sockway-bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sockway_bench::run()
}

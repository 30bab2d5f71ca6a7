//! `sockway-e2e`: real pods, real Envoys, verified traffic.

use std::process::ExitCode;

fn main() -> ExitCode {
    sockway_e2e::run()
}

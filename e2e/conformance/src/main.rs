//! `sockway-conformance`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sockway_conformance::run()
}

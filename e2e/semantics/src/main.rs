//! `sockway-semantics`: what TCP sockets promise an application, plain and accelerated.

use std::process::ExitCode;

fn main() -> ExitCode {
    sockway_semantics::run()
}

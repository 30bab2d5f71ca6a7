//! Under the name of `pause`: a pod's own container, which keeps the namespaces
//! and ends when it is told to.

use std::process::ExitCode;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Waits for the signal.
pub(crate) fn run() -> ExitCode {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        return ExitCode::FAILURE;
    };
    match signals.forever().next() {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

//! Whether tests run that need root.

use std::io::Write as _;

use nix::unistd::Uid;

/// Set to 1 by the privileged test ring.
const RING: &str = "SOCKWAY_PRIVILEGED";

/// Whether to run a test that needs root; says why where not.
///
/// # Panics
/// If the privileged ring is asked for without root, or where CI is set and it is not.
pub fn privileged(test: &str) -> bool {
    if std::env::var(RING).as_deref() != Ok("1") {
        // Past libtest's capture, which hides what a passing test prints.
        let line = format!("{test}: not run: needs root and the real programs; set {RING}=1\n");
        std::io::stderr()
            .write_all(line.as_bytes())
            .expect("write to standard error");
        return false;
    }
    assert!(Uid::effective().is_root(), "{test}: {RING}=1 needs root");
    true
}

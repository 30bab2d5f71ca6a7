//! Whether tests run that need root.

use std::io::Write as _;

use nix::unistd::Uid;

/// Set to 1 by the privileged test ring.
const RING: &str = "SOCKWAY_PRIVILEGED";

/// What a test stands on; where there is none the test ends here, which has been said.
#[macro_export]
macro_rules! needs {
    ($stand:expr) => {
        match $stand {
            Some(stand) => stand,
            None => return,
        }
    };
}

/// Whether to run a test that needs root; says why where not.
///
/// # Panics
/// If the privileged ring is asked for without root.
pub fn privileged(test: &str) -> Option<()> {
    if std::env::var(RING).as_deref() != Ok("1") {
        // Past libtest's capture, which hides what a passing test prints.
        let line = format!("{test}: not run: needs root and the real programs; set {RING}=1\n");
        std::io::stderr()
            .write_all(line.as_bytes())
            .expect("write to standard error");
        return None;
    }
    assert!(Uid::effective().is_root(), "{test}: {RING}=1 needs root");
    Some(())
}

//! What this build is, and what it runs on.

use std::path::Path;

use serde::Serialize;
use sockway_datapath::{Pins, host, kernel};

/// Version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, `unknown` where the build had none.
pub const COMMIT: &str = env!("SOCKWAY_COMMIT");
/// Both, as `--version` prints them.
pub const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("SOCKWAY_COMMIT"),
    ")"
);

/// Build and host, for the first line of a log and for reports.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Version of the package.
    pub version: &'static str,
    /// The commit it was built from.
    pub commit: &'static str,
    /// `uname -r`.
    pub kernel: String,
    /// Whether the kernel describes its types, which the careful rules need.
    pub btf: bool,
    /// Root of the pins.
    pub bpffs: String,
    /// The cgroup2 hierarchy found, empty where there is none.
    pub cgroup2: String,
}

impl Facts {
    /// Looks at the host.
    pub fn gather(pins: &Pins) -> Self {
        let cgroup2 = host::find_cgroup2().ok().flatten();
        Self {
            version: VERSION,
            commit: COMMIT,
            kernel: host::kernel_release(),
            btf: Path::new(kernel::BTF).exists(),
            bpffs: pins.root().display().to_string(),
            cgroup2: cgroup2.map(|p| p.display().to_string()).unwrap_or_default(),
        }
    }

    /// The first line of a log.
    pub fn line(&self) -> String {
        let Self {
            version,
            commit,
            kernel,
            btf,
            bpffs,
            cgroup2,
        } = self;
        let cgroup2 = if cgroup2.is_empty() {
            "not mounted"
        } else {
            cgroup2
        };
        let btf = if *btf { "yes" } else { "no" };
        format!(
            "sockway {version} (commit {commit}), kernel {kernel}, bpffs {bpffs}, cgroup2 {cgroup2}, BTF {btf}"
        )
    }
}

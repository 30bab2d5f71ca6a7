//! What can go wrong between user space and the kernel's BPF side.

use std::io;
use std::path::PathBuf;

use sockway_common::layout;

/// An error of this crate. Each message names the thing, the likely cause and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The root is not in a BPF file system.
    #[error(
        "{} is not in a BPF file system: mount one with `mount -t bpf bpf {}`",
        path.display(),
        at.display()
    )]
    NoBpffs {
        /// The directory that was to hold pins.
        path: PathBuf,
        /// Where bpffs is to be mounted.
        at: PathBuf,
    },

    /// Nothing of this layout is pinned.
    #[error("{} is not there: sockway is not installed on this node (`sockway install`)", path.display())]
    NotInstalled {
        /// The pin that was looked for.
        path: PathBuf,
    },

    /// Only other layouts are pinned.
    #[error(
        "{} holds layout {found}, this program speaks {}: run `sockway install` of the same version",
        root.display(),
        layout::PIN_DIR
    )]
    OtherLayout {
        /// The root in bpffs.
        root: PathBuf,
        /// The layouts found.
        found: String,
    },

    /// The caller may not do this.
    #[error("no permission to {what}: run as root (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON)")]
    Permission {
        /// What was tried.
        what: String,
    },

    /// Another process holds the maps' lock.
    #[error("{} is locked by another process for more than {waited_ms} ms: try again", path.display())]
    Busy {
        /// The directory that is locked.
        path: PathBuf,
        /// How long was waited, milliseconds.
        waited_ms: u64,
    },

    /// A map refused an operation.
    #[error("map {name}: cannot {op}")]
    Map {
        /// The map's name in [`layout`].
        name: &'static str,
        /// What was tried.
        op: &'static str,
        /// The cause.
        #[source]
        source: aya::maps::MapError,
    },

    /// A map is full.
    #[error(
        "map {name} is full ({capacity} rows): remove stale rows with `sockway reconcile` or raise its size"
    )]
    MapFull {
        /// The map's name in [`layout`].
        name: &'static str,
        /// Its capacity, rows.
        capacity: usize,
    },

    /// A file operation failed.
    #[error("cannot {op} {}", path.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// On which path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },

    /// No cgroup2 hierarchy is mounted.
    #[error(
        "no cgroup2 hierarchy is mounted: mount one with `mount -t cgroup2 none DIR` and name DIR"
    )]
    NoCgroup2,

    /// This build holds no eBPF object.
    #[cfg(feature = "loader")]
    #[error("this build holds no eBPF programs (a stub for checks): build with `make build`")]
    Stub,

    /// The eBPF object could not be loaded.
    #[cfg(feature = "loader")]
    #[error("cannot load the eBPF object")]
    Load {
        /// The cause.
        #[source]
        source: Box<aya::EbpfError>,
    },

    /// A program is not in the object, or of another kind.
    #[cfg(feature = "loader")]
    #[error(
        "the eBPF object has no program {name} of the expected kind: the build is broken, build again"
    )]
    NoProgram {
        /// The program's name.
        name: &'static str,
    },

    /// The kernel refused a program or would not attach it.
    #[cfg(feature = "loader")]
    #[error("cannot {op} program {name}: this kernel may lack what it needs (`sockway doctor`)")]
    Program {
        /// The program's name.
        name: &'static str,
        /// What was tried.
        op: &'static str,
        /// The cause, with the verifier's log.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },

    /// Ends cannot be brought in late here.
    #[cfg(feature = "loader")]
    #[error("ends that are open already stay as they are: {why}")]
    Late {
        /// What is missing.
        why: String,
    },

    /// The kernel's BTF could not be read.
    #[cfg(feature = "loader")]
    #[error("cannot read the kernel's BTF at {}", path.display())]
    Btf {
        /// The BTF file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Ends cannot be brought in late.
    #[cfg(feature = "loader")]
    pub(crate) fn late(why: &str) -> Self {
        Self::Late {
            why: why.to_owned(),
        }
    }

    /// An I/O error on `path`.
    pub(crate) fn io(op: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io {
            op,
            path: path.into(),
            source,
        }
    }
}

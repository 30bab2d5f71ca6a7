//! Limits and names, each in one place.

/// Bytes of standard input that are read. A conflist entry with its prevResult takes some KiB; a pod's
/// annotations (256 KiB at most, each byte up to six in Go's JSON) make that 1.5 MiB, the attachments
/// that GC is told to keep some more. What is far beyond is no runtime's doing.
pub const MAX_STDIN: u64 = 64 << 20;

/// Versions of the CNI specification that the plugin speaks, ascending.
pub const SUPPORTED_VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// The version of replies to callers whose version is not known.
pub const LATEST_VERSION: &str = "1.1.0";

/// What the runtime wants.
pub const CNI_COMMAND: &str = "CNI_COMMAND";
/// The attachment's container.
pub const CNI_CONTAINERID: &str = "CNI_CONTAINERID";
/// The attachment's interface.
pub const CNI_IFNAME: &str = "CNI_IFNAME";
/// Path of the container's network namespace.
pub const CNI_NETNS: &str = "CNI_NETNS";
/// `KEY=value` pairs of the runtime, separated by `;`.
pub const CNI_ARGS: &str = "CNI_ARGS";

/// Pod annotation that says how far the pod takes part.
pub const SCOPE_ANNOTATION: &str = "sockway.io/scope";

/// Bytes of a log file before it is set aside: with the one set aside, two
/// files of this size at most.
pub const MAX_LOG_FILE: u64 = 4 << 20;
/// Bytes of an error's details, so that a reply stays readable.
pub const MAX_DETAILS: usize = 4096;

//! Names, capacities and the version of everything that is pinned.

/// Version of the maps' layout. Part of the pin directory's name: programs and
/// user space of different layouts never share a map.
pub const LAYOUT_VERSION: u32 = 6;

/// Name of the directory under the bpffs root that holds this layout's pins.
pub const PIN_DIR: &str = "v6";

/// Addresses of registered pods: [`crate::addr::IpKey`] -> [`crate::pod::PodRow`], hash.
pub const PODS: &str = "pods";
/// Attachments: [`crate::pod::OwnerKey`] -> [`crate::pod::SandboxRow`], hash; user space only.
pub const SANDBOXES: &str = "sandboxes";
/// Connections being set up: [`crate::pair::SeqKey`] -> [`crate::pair::PendingRow`], LRU hash.
pub const PENDING: &str = "pending";
/// Sockets that redirect and are redirected to: cookie (u64) -> socket, sockhash.
pub const SOCKETS: &str = "sockets";
/// Per-socket state: [`crate::state::SockState`], socket storage.
pub const STATE: &str = "state";
/// What is known of programs: [`crate::program::ProgramKey`] -> [`crate::program::ProgramRow`], LRU hash.
pub const PROGRAMS: &str = "programs";
/// Both ends of every connection that may take part: cookie (u64) -> [`crate::end::EndRow`], hash.
pub const ENDS: &str = "ends";
/// Threads that were seen in a call: thread id (u32, of the first PID namespace) -> the number of the question that
/// it answers (u64, [`crate::signal::QUESTION`]), LRU hash.
pub const CALLERS: &str = "callers";
/// What user space is told: [`crate::end::Event`], ring buffer.
pub const EVENTS: &str = "events";
/// How things are: u64 by [`crate::signal`], array.
pub const SIGNALS: &str = "signals";
/// Sums: one [`crate::counters::Stats`] per CPU, per-CPU array.
pub const STATS: &str = "stats";
/// Sums by pod: [`crate::addr::IpKey`] -> [`crate::pod::PodStats`], LRU per-CPU hash.
pub const POD_STATS: &str = "pod_stats";

/// The plugin's calls: [`crate::calls::Value`], array of one; user space only.
pub const CALLS: &str = "calls";
/// What the programs in place were loaded with: one [`crate::config::Config`], array. User space
/// only, and not one of [`MAPS`]: nothing stops working without it.
pub const LOADED: &str = "loaded";

/// Every map, in the order in which they are pinned.
pub const MAPS: [&str; 13] = [
    PODS, SANDBOXES, PENDING, SOCKETS, STATE, PROGRAMS, ENDS, CALLERS, EVENTS, SIGNALS, STATS,
    POD_STATS, CALLS,
];

/// Rows of [`PODS`] and [`SANDBOXES`].
pub const MAX_PODS: usize = 16_384;
/// Accelerated connections at a time, unless an install asks for another number.
pub const MAX_CONNECTIONS: u32 = 131_072;
/// Rows of [`PENDING`], by [`capacities`].
pub const MAX_PENDING: usize = MAX_CONNECTIONS as usize;
/// Rows of [`SOCKETS`], by [`capacities`]: two per connection.
pub const MAX_SOCKETS: usize = MAX_CONNECTIONS as usize * 2;
/// Rows of [`PROGRAMS`].
pub const MAX_PROGRAMS: usize = 16_384;
/// Rows of [`ENDS`], by [`capacities`]: two per connection.
pub const MAX_ENDS: usize = MAX_CONNECTIONS as usize * 2;
/// Rows of [`CALLERS`].
pub const MAX_CALLERS: usize = 8_192;
/// Size of [`EVENTS`], bytes: 8 192 events with their heads.
pub const EVENTS_SIZE: usize = 256 << 10;
/// Rows of [`POD_STATS`].
pub const MAX_POD_STATS: usize = 4_096;

/// Rows of the maps that grow with the number of connections at a time.
#[must_use]
pub const fn capacities(connections: u32) -> [(&'static str, u32); 3] {
    [
        (SOCKETS, connections.saturating_mul(2)),
        (PENDING, connections),
        (ENDS, connections.saturating_mul(2)),
    ]
}

/// Names of the programs in the object, and of their pins.
pub mod program {
    /// `sock_ops`: finds pairs and puts them into the sockhash.
    pub const ESTABLISH: &str = "sockway_establish";
    /// `sk_msg`: redirects.
    pub const REDIRECT: &str = "sockway_redirect";
    /// `sched_cls`, run by user space: brings ends in late, and lets them out ([`crate::order`]).
    pub const LATE: &str = "sockway_late";
    /// Raw tracepoint `tcp_rcv_space_adjust`: sees how programs read.
    pub const READS: &str = "sockway_reads";
    /// Raw tracepoint `sock_recv_length` (6.3): sees who reads until there is nothing more.
    pub const ENDS: &str = "sockway_ends";
    /// fexit of `inet_recvmsg`: the same before 6.3.
    pub const ENDS_V4: &str = "sockway_ends_v4";
    /// fexit of `inet6_recvmsg`: the same before 6.3.
    pub const ENDS_V6: &str = "sockway_ends_v6";
    /// Raw tracepoint `inet_sk_error_report` (5.14): sees sockets that have an error to tell.
    pub const ERRORS: &str = "sockway_errors";
    /// fentry of `tcp_ioctl`: sees who asks FIONREAD.
    pub const GUARD_IOCTL: &str = "sockway_ioctl";
    /// fentry of `tcp_bpf_ioctl`: the same on joined sockets, where the kernel has it (6.18 and
    /// later stable kernels).
    pub const GUARD_JOINED_IOCTL: &str = "sockway_joined_ioctl";
    /// fentry of `tcp_splice_read`: sees who splices before they read.
    pub const GUARD_SPLICE: &str = "sockway_splice";
}

/// Name of the read-only global that holds [`crate::config::Config`].
pub const CONFIG: &str = "CONFIG";

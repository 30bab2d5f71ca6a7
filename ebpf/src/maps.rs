//! The maps, by the names and capacities of `sockway_common::layout`.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::{
    Array, HashMap, LruHashMap, LruPerCpuHashMap, PerCpuArray, RingBuf, SkStorage, SockHash,
};
use aya_ebpf::helpers::generated::bpf_map_delete_elem;
use aya_ebpf::macros::btf_map;
use sockway_common::addr::IpKey;
use sockway_common::counters::Stats;
use sockway_common::end::{EndRow, Event};
use sockway_common::layout::{
    EVENTS_SIZE, MAX_CALLERS, MAX_ENDS, MAX_PENDING, MAX_POD_STATS, MAX_PODS, MAX_PROGRAMS,
    MAX_SOCKETS,
};
use sockway_common::pair::{PendingRow, SeqKey};
use sockway_common::pod::{PodRow, PodStats};
use sockway_common::program::{ProgramKey, ProgramRow};
use sockway_common::signal;
use sockway_common::state::SockState;

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

/// Addresses of registered pods.
#[btf_map(name = "pods")]
pub(crate) static PODS: HashMap<IpKey, PodRow, MAX_PODS, NO_PREALLOC> = HashMap::new();

/// Connections whose passive end is on this node, until that is established.
#[btf_map(name = "pending")]
pub(crate) static PENDING: LruHashMap<SeqKey, PendingRow, MAX_PENDING> = LruHashMap::new();

/// Sockets that redirect and are redirected to, by cookie.
#[btf_map(name = "sockets")]
pub(crate) static SOCKETS: SockHash<u64, MAX_SOCKETS> = SockHash::new();

/// Takes a socket out of [`SOCKETS`], for which aya has no call. Its queue must be empty.
#[inline(always)]
pub(crate) fn take_out(cookie: u64) {
    let map = (&raw const SOCKETS).cast_mut().cast();
    // SAFETY: `map` is the sockhash, the key a live local of its type.
    let _gone = unsafe { bpf_map_delete_elem(map, (&raw const cookie).cast()) };
}

/// Per-socket state.
#[btf_map(name = "state")]
pub(crate) static STATE: SkStorage<SockState> = SkStorage::new();

/// What is known of programs.
#[btf_map(name = "programs")]
pub(crate) static PROGRAMS: LruHashMap<ProgramKey, ProgramRow, MAX_PROGRAMS> = LruHashMap::new();

/// Both ends of every connection that may take part, by cookie.
#[btf_map(name = "ends")]
pub(crate) static ENDS: HashMap<u64, EndRow, MAX_ENDS, NO_PREALLOC> = HashMap::new();

/// Threads that were seen in a call.
#[btf_map(name = "callers")]
pub(crate) static CALLERS: LruHashMap<u32, u64, MAX_CALLERS> = LruHashMap::new();

/// What user space is told.
#[btf_map(name = "events")]
pub(crate) static EVENTS: RingBuf<Event, EVENTS_SIZE> = RingBuf::new();

/// How things are, by `sockway_common::signal`.
#[btf_map(name = "signals")]
pub(crate) static SIGNALS: Array<u64, { signal::COUNT }> = Array::new();

/// Sums.
#[btf_map(name = "stats")]
pub(crate) static STATS: PerCpuArray<Stats, 1> = PerCpuArray::new();

/// Sums by pod.
#[btf_map(name = "pod_stats")]
pub(crate) static POD_STATS: LruPerCpuHashMap<IpKey, PodStats, MAX_POD_STATS> =
    LruPerCpuHashMap::new();

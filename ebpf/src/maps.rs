//! The maps, by the names and capacities of `sockway_common::layout`.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::{
    Array, HashMap, LruHashMap, LruPerCpuHashMap, PerCpuArray, SkStorage, SockHash,
};
use aya_ebpf::helpers::generated::bpf_map_delete_elem;
use aya_ebpf::macros::btf_map;
use sockway_common::addr::IpKey;
use sockway_common::counters::Stats;
use sockway_common::existing::{JoinRow, MAX_JOINS};
use sockway_common::layout::{
    MAX_PENDING, MAX_POD_STATS, MAX_PODS, MAX_READERS, MAX_SOCKETS, MAX_WATCHED,
};
use sockway_common::pair::{PendingRow, ReaderKey, SeqKey};
use sockway_common::pod::{PodRow, PodStats};
use sockway_common::reader::{ReaderRow, signal};
use sockway_common::state::SockState;

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

/// Addresses of registered pods.
#[btf_map(name = "pods")]
pub(crate) static PODS: HashMap<IpKey, PodRow, MAX_PODS, NO_PREALLOC> = HashMap::new();

/// Connections whose passive end is on this node, until the active end knows it.
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

/// What is known of how applications read.
#[btf_map(name = "readers")]
pub(crate) static READERS: LruHashMap<ReaderKey, ReaderRow, MAX_READERS> = LruHashMap::new();

/// Application sockets that the guards know, by cookie.
#[btf_map(name = "watched")]
pub(crate) static WATCHED: LruHashMap<u64, ReaderKey, MAX_WATCHED> = LruHashMap::new();

/// How learning goes, by `sockway_common::reader::signal`.
#[btf_map(name = "learning")]
pub(crate) static LEARNING: Array<u64, { signal::COUNT }> = Array::new();

/// Sums.
#[btf_map(name = "stats")]
pub(crate) static STATS: PerCpuArray<Stats, 1> = PerCpuArray::new();

/// Sums by pod.
#[btf_map(name = "pod_stats")]
pub(crate) static POD_STATS: LruPerCpuHashMap<IpKey, PodStats, MAX_POD_STATS> =
    LruPerCpuHashMap::new();

/// Sockets to bring in that were open before, by cookie. Not pinned: it belongs
/// to the process that loads the iterators.
#[btf_map(name = "joins")]
pub(crate) static JOINS: HashMap<u64, JoinRow, MAX_JOINS, NO_PREALLOC> = HashMap::new();

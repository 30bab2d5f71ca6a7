//! Memory that runs short: of all TCP on the node, or of a reader's pod.

use sockway_common::cast;
use sockway_common::flow::SLICE;
use sockway_common::offsets::UNKNOWN;

use super::config;
use super::field::{At, Own, read, read_or};

/// Room below a memory limit that counts as enough, pages: what a direction may have in flight.
const MEMORY_ROOM: u64 = SLICE as u64 / 4096;

/// Limits that are looked at: of a container, and of what it is in.
const MEMORY_LEVELS: u32 = 6;

/// Zones whose pages are counted. Each kernel in use has at least these; a reader whose files
/// lie in others is taken for full.
const ZONES: u32 = 3;

/// `NR_LRU_LISTS`, `LRU_INACTIVE_FILE` and `LRU_ACTIVE_FILE`, include/linux/mmzone.h.
const LRU_LISTS: u32 = 5;
const LRU_FILES: [u32; 2] = [2, 3];

/// `MAX_NR_GENS`, include/linux/mmzone.h.
const GENERATIONS: u32 = 4;

/// Flags in `sk_memcg`, include/net/sock.h `SK_BPF_MEMCG_FLAG_MASK` (6.18).
const MEMCG_FLAGS: u64 = 7;

/// Whether a redirected send could fail for want of memory: all of TCP's, or that of the
/// reader's pod.
#[inline(always)]
pub(crate) fn is_short(sender: Own, reader: u64) -> bool {
    under_pressure(sender).unwrap_or(false) || pod_is_full(reader)
}

/// True while all TCP of the node is short of memory (`tcp_memory_pressure`).
#[inline(always)]
fn under_pressure(sender: Own) -> Option<bool> {
    let protocol = sender.follow(config!(offsets.sk_prot))?;
    let since: u64 = protocol.get(config!(offsets.proto_memory_pressure))?;
    Some(read::<u64>(since, 0)? != 0)
}

/// True where the memory that a socket is charged to is at its limit, or at that of
/// a cgroup around it, and holds hardly any file's pages which the kernel could take back.
#[inline(never)]
fn pod_is_full(sock: u64) -> bool {
    // No cast: the verifier lets nobody take flags off a pointer.
    let memcg = read_or(sock, config!(offsets.sk_memcg), 0_u64) & !MEMCG_FLAGS;
    if memcg == 0 || config!(offsets.memcg_memory) == UNKNOWN {
        return false;
    }
    let counter = memcg + u64::from(config!(offsets.memcg_memory));
    let mut counter = At::new::<{ cast::PAGE_COUNTER }>(counter);
    for _ in 0..MEMORY_LEVELS {
        let usage: u64 = counter.get_or(config!(offsets.counter_usage), 0);
        let max: u64 = counter.get_or(config!(offsets.counter_max), u64::MAX);
        if usage.saturating_add(MEMORY_ROOM) > max {
            return file_pages(memcg) < MEMORY_ROOM;
        }
        let Some(parent) = counter.follow(config!(offsets.counter_parent)) else {
            break;
        };
        counter = parent;
    }
    false
}

/// Pages of files that a memory cgroup holds on the first NUMA node: the array of nodes is no
/// longer than there are any.
#[inline(always)]
fn file_pages(memcg: u64) -> u64 {
    let node: u64 = read_or(memcg, config!(offsets.memcg_nodeinfo), 0);
    let lists = config!(offsets.memcg_lru);
    let mut pages = 0u64;
    if lists == UNKNOWN {
        return pages;
    }
    let mut add = |at: u32| pages = pages.saturating_add(read_or(node, at, 0_u64));
    for zone in 0..ZONES {
        for list in LRU_FILES {
            add(lists + (zone * LRU_LISTS + list) * 8);
        }
    }
    let (base, size) = (
        config!(offsets.memcg_generations),
        config!(offsets.memcg_generations_size),
    );
    if base != UNKNOWN && size != UNKNOWN {
        // Each has the anonymous pages of its zones, then those of files.
        let (generation, files) = (size / GENERATIONS, size / GENERATIONS / 2);
        for number in 0..GENERATIONS {
            for zone in 0..ZONES {
                add(base + number * generation + files + zone * 8);
            }
        }
    }
    pages
}

//! Adding up what happened.

use sockway_common::counters::{REASONS, Reason, Stats};
use sockway_common::pair::hop;
use sockway_common::pod::PodStats;
use sockway_common::state::SockState;

use crate::maps::{POD_STATS, STATS};

/// Messages a socket keeps to itself before it adds them to the sums.
const BATCH: u32 = 64;
/// Bytes from which it does not wait for that; no message is larger.
const MANY: u32 = 1 << 31;

/// Adds to a counter.
///
/// Atomic: a softirq may interrupt a send on the same CPU. Most lines are this
/// CPU's own, so it costs little.
#[inline(always)]
pub(crate) fn bump(counter: *mut u64, by: u64) {
    // core has no atomic additions for this target: it lacks compare-and-swap.
    // SAFETY: `counter` points into a map value that the verifier has seen
    // checked for null, is aligned, and lives as long as the program runs.
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) by);
    }
}

/// Calls `add` with this CPU's sums.
#[inline(always)]
fn with_stats(add: impl FnOnce(*mut Stats)) {
    if let Some(stats) = STATS.get_ptr_mut(0) {
        add(stats);
    }
}

/// The slot of a hop or reason, kept inside its array for the verifier.
#[inline(always)]
fn slot<const N: usize>(array: *mut [u64; N], index: u32) -> *mut u64 {
    let index = if (index as usize) < N {
        index as usize
    } else {
        0
    };
    // SAFETY: `index` is below N, so the result stays inside the array.
    unsafe { array.cast::<u64>().add(index) }
}

macro_rules! field {
    ($stats:ident . $field:ident) => {{
        let stats = $stats;
        // SAFETY: `stats` is a checked pointer to a map value of the type that
        // has the field; only its address is taken.
        unsafe { &raw mut (*stats).$field }
    }};
}

/// A SYN for a registered pod's hop arrived at a listener on this node.
#[inline(always)]
pub(crate) fn syn(hop: u32) {
    with_stats(|s| bump(slot::<{ hop::COUNT }>(field!(s.syns), hop), 1));
}

/// An active end was found to have its passive end on this node.
#[inline(always)]
pub(crate) fn local(hop: u32) {
    with_stats(|s| bump(slot::<{ hop::COUNT }>(field!(s.local), hop), 1));
}

/// A connection that qualified is left to TCP as a whole.
#[inline(always)]
pub(crate) fn left(reason: Reason) {
    with_stats(|s| bump(slot::<REASONS>(field!(s.left), reason as u32), 1));
}

/// A direction went from TCP back to redirection.
#[inline(always)]
pub(crate) fn resumed() {
    with_stats(|s| bump(field!(s.resumed), 1));
}

/// Both ends of a connection were joined.
#[inline(always)]
pub(crate) fn paired(state: &SockState) {
    with_stats(|s| bump(slot::<{ hop::COUNT }>(field!(s.paired), state.hop), 1));
    with_pod(state, |p| bump(field!(p.paired), 1));
}

#[inline(always)]
fn with_pod(state: &SockState, add: impl FnOnce(*mut PodStats)) {
    let pod = state.pod;
    if let Some(stats) = POD_STATS.get_ptr_mut(pod) {
        add(stats);
        return;
    }
    // A failure here costs a figure, nothing else.
    let _full = POD_STATS.insert(pod, PodStats::default(), 0);
    if let Some(stats) = POD_STATS.get_ptr_mut(pod) {
        add(stats);
    }
}

/// Notes one redirected message.
#[inline(always)]
pub(crate) fn redirected(state: &mut SockState, size: u32) {
    state.redirected_messages += 1;
    state.redirected_bytes = state.redirected_bytes.saturating_add(size);
    if state.redirected_messages >= BATCH || state.redirected_bytes >= MANY {
        flush(state);
    }
}

/// Notes one message that goes by TCP, for `state.reason`.
#[inline(always)]
pub(crate) fn by_tcp(state: &mut SockState, size: u32) {
    state.tcp_messages += 1;
    state.tcp_bytes = state.tcp_bytes.saturating_add(size);
    if state.tcp_messages >= BATCH || state.tcp_bytes >= MANY {
        flush(state);
    }
}

/// Changes the reason for TCP; what was noted so far counts for the old one.
#[inline(always)]
pub(crate) fn set_reason(state: &mut SockState, reason: Reason) {
    if state.reason != reason as u32 {
        flush(state);
        state.reason = reason as u32;
    }
}

/// Adds what a socket has noted to the sums.
#[inline(never)]
pub(crate) fn flush(state: &mut SockState) {
    let messages = u64::from(state.redirected_messages);
    let bytes = u64::from(state.redirected_bytes);
    let tcp_messages = u64::from(state.tcp_messages);
    let tcp_bytes = u64::from(state.tcp_bytes);
    if messages == 0 && tcp_messages == 0 {
        return;
    }
    with_stats(|s| {
        if messages != 0 {
            bump(
                slot::<{ hop::COUNT }>(field!(s.redirected_messages), state.hop),
                messages,
            );
            bump(
                slot::<{ hop::COUNT }>(field!(s.redirected_bytes), state.hop),
                bytes,
            );
        }
        if tcp_messages != 0 {
            bump(
                slot::<REASONS>(field!(s.tcp_messages), state.reason),
                tcp_messages,
            );
            bump(
                slot::<REASONS>(field!(s.tcp_bytes), state.reason),
                tcp_bytes,
            );
        }
    });
    with_pod(state, |p| {
        bump(field!(p.redirected_messages), messages);
        bump(field!(p.redirected_bytes), bytes);
        bump(field!(p.tcp_messages), tcp_messages);
        bump(field!(p.tcp_bytes), tcp_bytes);
    });
    state.redirected_messages = 0;
    state.redirected_bytes = 0;
    state.tcp_messages = 0;
    state.tcp_bytes = 0;
}

/// A joined end closed: adds its figures.
#[inline(always)]
pub(crate) fn closed(state: &mut SockState) {
    flush(state);
    with_stats(|s| bump(field!(s.closed), 1));
}

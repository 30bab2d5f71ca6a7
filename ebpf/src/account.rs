//! Adding up what happened.

use core::ptr::null_mut;

use sockway_common::addr::IpKey;
use sockway_common::counters::{REASONS, Reason, Stats};
use sockway_common::end::EndRow;
use sockway_common::pair::hop;
use sockway_common::pod::PodStats;
use sockway_common::state::{SockState, flag};

use crate::counter::bump;
use crate::ends;
use crate::maps::{POD_STATS, STATS};

/// Messages a socket keeps to itself before it adds them to the sums.
const BATCH: u32 = 64;
/// What SYN and FIN add to the bytes that the kernel counts as acknowledged.
const SEQUENCE_NUMBERS: u64 = 2;
/// Bytes from which it does not wait for that; no message is larger.
const MANY: u32 = 1 << 31;

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
    // Hidden from the compiler, which would check another register than it adds.
    let index = core::hint::black_box(index) as usize;
    let index = if index < N { index } else { 0 };
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

/// Both ends of a connection were found.
#[inline(always)]
pub(crate) fn paired(hop: u32, pod: IpKey) {
    with_stats(|s| bump(slot::<{ hop::COUNT }>(field!(s.paired), hop), 1));
    with_pod(pod, |p| bump(field!(p.paired), 1));
}

/// An end came in when it was established.
#[inline(always)]
pub(crate) fn joined(hop: u32) {
    with_stats(|s| bump(slot::<{ hop::COUNT }>(field!(s.joined), hop), 1));
}

/// An end came in late.
#[inline(always)]
pub(crate) fn joined_late(hop: u32) {
    with_stats(|s| bump(slot::<{ hop::COUNT }>(field!(s.joined_late), hop), 1));
}

/// An end left the sockhash before it closed.
#[inline(always)]
pub(crate) fn left_early() {
    with_stats(|s| bump(field!(s.left_early), 1));
}

#[inline(always)]
fn with_pod(pod: IpKey, add: impl FnOnce(*mut PodStats)) {
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
    set_reason_number(state, reason as u32);
}

/// The same with the reason as a number.
#[inline(always)]
pub(crate) fn set_reason_number(state: &mut SockState, reason: u32) {
    if state.reason != reason {
        flush(state);
        state.reason = reason;
    }
}

/// Adds what a socket has noted to the sums, and to its row.
#[inline(always)]
pub(crate) fn flush(state: &mut SockState) {
    add(state, ends::get_mut(state.cookie).unwrap_or(null_mut()));
}

/// The same; `row` is null where there is none.
#[inline(never)]
fn add(state: &mut SockState, row: *mut EndRow) {
    let messages = u64::from(state.redirected_messages);
    let bytes = u64::from(state.redirected_bytes);
    let tcp_messages = u64::from(state.tcp_messages);
    let tcp_bytes = u64::from(state.tcp_bytes);
    if messages == 0 && tcp_messages == 0 {
        return;
    }
    let direction = hop::direction(state.hop, state.flags & flag::ACTIVE != 0);
    with_stats(|s| {
        if messages != 0 {
            bump(
                slot::<{ hop::DIRECTIONS }>(field!(s.redirected_messages), direction),
                messages,
            );
            bump(
                slot::<{ hop::DIRECTIONS }>(field!(s.redirected_bytes), direction),
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
    with_pod(state.pod, |p| {
        bump(field!(p.redirected_messages), messages);
        bump(field!(p.redirected_bytes), bytes);
        bump(field!(p.tcp_messages), tcp_messages);
        bump(field!(p.tcp_bytes), tcp_bytes);
    });
    if !row.is_null() {
        bump(field!(row.redirected), bytes);
        bump(field!(row.by_tcp), tcp_bytes);
    }
    state.redirected_messages = 0;
    state.redirected_bytes = 0;
    state.tcp_messages = 0;
    state.tcp_bytes = 0;
}

/// An end closed: adds its figures. `received`, `acked`: payload bytes by TCP, as the kernel counted them.
#[inline(always)]
pub(crate) fn closed(state: &mut SockState, row: *mut EndRow, received: u64, acked: u64) {
    add(state, row);
    // SAFETY: as in `ends::get`.
    let row = unsafe { &*row };
    let from_active = state.flags & flag::ACTIVE == 0;
    let incoming = hop::direction(state.hop, from_active);
    // What was sent while the end was not in the sockhash.
    let unseen = acked.saturating_sub(row.by_tcp + SEQUENCE_NUMBERS);
    with_stats(|s| {
        bump(field!(s.closed), 1);
        bump(
            slot::<{ hop::DIRECTIONS }>(field!(s.received_bytes), incoming),
            received,
        );
        bump(slot::<REASONS>(field!(s.tcp_bytes), row.why), unseen);
    });
    with_pod(state.pod, |p| bump(field!(p.tcp_bytes), unseen));
}

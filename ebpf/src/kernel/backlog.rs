//! A reader's redirected queue.

use sockway_common::cast;
use sockway_common::offsets::UNKNOWN;

use super::config;
use super::field::{At, Typed, read, read_or};

/// Tag bits of `sk_user_data`, include/net/sock.h `SK_USER_DATA_PTRMASK`.
const USER_DATA_TAGS: u64 = 7;

/// Entries of `ingress_msg` that are walked at most where the kernel keeps no sum.
const MAX_WALK: u32 = 48;

/// What is known of a reader's redirected queue.
pub(crate) enum Backlog {
    /// Bytes that wait.
    Bytes(u32),
    /// More messages than were counted.
    Long,
    /// The socket has no psock any more.
    Gone,
    /// The kernel cannot be asked.
    Unknown,
}

/// Whether nothing waits in a socket's redirected queue, nor on the way there.
#[inline(always)]
pub(crate) fn queue_is_empty<const L: u32>(sock: Typed<L>) -> bool {
    let packets: u32 = read_or(psock(sock), config!(offsets.psock_ingress_skb), 1);
    let owned: u32 = sock.get_or(config!(offsets.sk_lock_owned), 1);
    packets == 0 && owned == 0 && matches!(backlog(sock), Backlog::Bytes(0))
}

/// Whether no call on a socket is under way by the ways of the sockhash: its psock has the
/// reference of the socket's own, and no other.
#[inline(always)]
pub(crate) fn is_idle<const L: u32>(sock: Typed<L>) -> bool {
    read_or(psock(sock), config!(offsets.psock_refcnt), 0_u32) == 1
}

/// Where a socket's psock lies; 0 without one.
#[inline(always)]
fn psock<const L: u32>(sock: Typed<L>) -> u64 {
    let data: u64 = sock.get_or(config!(offsets.sk_user_data), 0);
    data & !USER_DATA_TAGS
}

/// Redirected bytes that wait at a socket.
#[inline(always)]
pub(crate) fn backlog<const L: u32>(sock: Typed<L>) -> Backlog {
    if config!(offsets.sk_user_data) == UNKNOWN {
        return Backlog::Unknown;
    }
    let Some(data) = sock.get::<u64>(config!(offsets.sk_user_data)) else {
        return Backlog::Gone;
    };
    let psock = data & !USER_DATA_TAGS;
    if psock == 0 {
        return Backlog::Gone;
    }
    if config!(offsets.psock_msg_tot_len) != UNKNOWN {
        let psock = At::new::<{ cast::PSOCK }>(psock);
        return match psock.get(config!(offsets.psock_msg_tot_len)) {
            Some(bytes) => Backlog::Bytes(bytes),
            None => Backlog::Gone,
        };
    }
    let (head, link) = (
        config!(offsets.psock_ingress_msg),
        config!(offsets.msg_list),
    );
    if head == UNKNOWN || link == UNKNOWN || config!(offsets.msg_size) == UNKNOWN {
        return Backlog::Unknown;
    }
    match walk(psock, head, link) {
        GONE => Backlog::Gone,
        LONG => Backlog::Long,
        bytes => Backlog::Bytes(u32::try_from(bytes).unwrap_or(u32::MAX)),
    }
}

/// What [`walk`] gives beside a number of bytes.
const GONE: u64 = u64::MAX;
const LONG: u64 = u64::MAX - 1;

/// Adds up `ingress_msg` entry by entry, for kernels without `msg_tot_len`.
///
/// The list may change meanwhile: every step is a checked read and the number
/// of steps is bounded, so the worst is a wrong sum.
///
/// A function with a plain number as its result: the verifier would follow each of its
/// many ends through all of the caller's rest.
#[inline(never)]
fn walk(psock: u64, head: u32, link: u32) -> u64 {
    let head = psock + u64::from(head);
    let Some(mut at) = read::<u64>(head, 0) else {
        return GONE;
    };
    let mut bytes = 0u32;
    for _ in 0..MAX_WALK {
        if at == head {
            return u64::from(bytes);
        }
        let msg = at.wrapping_sub(u64::from(link));
        let Some(size) = read::<u32>(msg, config!(offsets.msg_size)) else {
            return GONE;
        };
        bytes = bytes.saturating_add(size);
        let Some(next) = read::<u64>(at, 0) else {
            return GONE;
        };
        at = next;
    }
    LONG
}

//! How an application waits for a socket.

use sockway_common::offsets::UNKNOWN;

use super::field::{At, read};
use super::{config, file};

/// Epoll sets of a file that are looked at.
const MAX_SETS: u32 = 4;
/// `EPOLLET` of include/uapi/linux/eventpoll.h.
const EPOLLET: u32 = 1 << 31;

/// How an application waits for a socket.
pub(crate) enum Waits {
    /// In an epoll set, level-triggered.
    Level,
    /// In an epoll set with `EPOLLET`.
    Edge,
    /// In no epoll set now.
    NotByEpoll,
    /// The kernel cannot be asked.
    Unknown,
}

/// Asks the epoll sets that the socket's file is in.
#[inline(always)]
pub(crate) fn waits(sock: At) -> Waits {
    sets(sock).unwrap_or(Waits::Unknown)
}

#[inline(always)]
fn sets(sock: At) -> Option<Waits> {
    let (link, events) = (config!(offsets.epitem_link), config!(offsets.epitem_events));
    if link == UNKNOWN || events == UNKNOWN {
        return None;
    }
    let file = file(sock)?.address();
    // A list that ends with null behind a pointer; until 5.10 a ring in the file itself.
    let (head, end) = if config!(offsets.file_ep) != UNKNOWN {
        (read(file, config!(offsets.file_ep))?, 0)
    } else if config!(offsets.file_ep_links) != UNKNOWN {
        let ring = file.wrapping_add(u64::from(config!(offsets.file_ep_links)));
        (ring, ring)
    } else {
        return None;
    };
    if head == 0 {
        return Some(Waits::NotByEpoll);
    }
    let mut node: u64 = read(head, 0)?;
    if node == end {
        return Some(Waits::NotByEpoll);
    }
    for _ in 0..MAX_SETS {
        let asked: u32 = read(node.wrapping_sub(u64::from(link)), events)?;
        if asked & EPOLLET != 0 {
            return Some(Waits::Edge);
        }
        node = read(node, 0)?;
        if node == end {
            return Some(Waits::Level);
        }
    }
    None
}

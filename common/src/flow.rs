//! When a direction may be redirected: order and back-pressure.

/// What one queued message costs beside its bytes: `struct sk_msg` with its
/// scatter list (kernel 6.18: 704 bytes from kmalloc-1k). Without it a sender of single bytes
/// would park hundreds of times the limit in kernel memory.
pub const MESSAGE_COST: u32 = 1024;

/// The least credit that a look grants, so that looks stay rare.
pub const MIN_CREDIT: u32 = 16 * 1024;

/// Sends to skip at most between two looks at a direction on TCP.
pub const MAX_BACKOFF: u32 = 64;

/// What the kernel says about both ends. Sequence numbers in host byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Sender: `tcp_sock.snd_una`, the oldest byte not acknowledged.
    pub snd_una: u32,
    /// Sender: `tcp_sock.write_seq`, one past the last byte the application sent.
    pub write_seq: u32,
    /// Receiver: `tcp_sock.copied_seq`, the next byte its application will read.
    pub copied_seq: u32,
    /// Receiver: `tcp_sock.rcv_nxt`, the next byte it expects.
    pub rcv_nxt: u32,
    /// Receiver: `sock.sk_lock.owned`: a process is inside a call on the socket.
    pub owned: u32,
}

/// True where every byte this direction ever sent by TCP has been read.
///
/// The kernel hands out a socket's redirected queue before its TCP queue, so
/// only then may a direction go from TCP to redirection. `owned`: a reader
/// that is inside `tcp_recvmsg` already looks at the TCP queue only, so bytes
/// redirected now and TCP bytes after them could pass each other; once the
/// lock is free, every later call looks at the redirected queue first.
#[inline(always)]
#[must_use]
pub const fn drained(ends: &Ends) -> bool {
    ends.snd_una == ends.write_seq && ends.copied_seq == ends.rcv_nxt && ends.owned == 0
}

/// What waits at the reader, in bytes with [`MESSAGE_COST`] for each message.
///
/// `bytes`: of the redirected queue; `messages`: redirected since the queue
/// was last seen empty; `smallest`: the smallest of those.
#[inline(always)]
#[must_use]
pub const fn backlog_cost(bytes: u32, messages: u32, smallest: u32) -> u64 {
    if bytes == 0 {
        return 0;
    }
    let smallest = if smallest == 0 { 1 } else { smallest };
    let at_most = bytes / smallest + 1;
    let messages = if messages < at_most {
        messages
    } else {
        at_most
    };
    bytes as u64 + messages as u64 * MESSAGE_COST as u64
}

/// Credit for the next sends, or `None` where the reader is behind by more than `limit`.
#[inline(always)]
#[must_use]
pub const fn credit(cost: u64, limit: u32) -> Option<u32> {
    if cost >= limit as u64 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "cost < limit, which is a u32"
    )]
    let left = limit - cost as u32;
    Some(if left < MIN_CREDIT { MIN_CREDIT } else { left })
}

/// What a message takes from the credit.
#[inline(always)]
#[must_use]
pub const fn charge(size: u32) -> u32 {
    size.saturating_add(MESSAGE_COST)
}

/// The next back-off after a look in vain.
#[inline(always)]
#[must_use]
pub const fn next_backoff(backoff: u32) -> u32 {
    let next = backoff * 2 + 1;
    if next > MAX_BACKOFF {
        MAX_BACKOFF
    } else {
        next
    }
}

#[cfg(test)]
mod tests {
    use super::{Ends, MESSAGE_COST, MIN_CREDIT, backlog_cost, credit, drained};

    #[test]
    fn drained_needs_all_three() {
        let ends = Ends {
            snd_una: 9,
            write_seq: 9,
            copied_seq: 9,
            rcv_nxt: 9,
            owned: 0,
        };
        assert!(drained(&ends));
        assert!(!drained(&Ends { snd_una: 8, ..ends }));
        assert!(!drained(&Ends {
            copied_seq: 8,
            ..ends
        }));
        assert!(!drained(&Ends { owned: 1, ..ends }));
    }

    #[test]
    fn single_bytes_cost_what_they_take() {
        assert_eq!(backlog_cost(0, 500, 1), 0);
        assert_eq!(
            backlog_cost(100, 100, 1),
            100 + 100 * u64::from(MESSAGE_COST)
        );
        // Never more messages than fit into the bytes.
        assert_eq!(
            backlog_cost(100, 9_999, 50),
            100 + 3 * u64::from(MESSAGE_COST)
        );
    }

    #[test]
    fn credit_ends_at_the_limit() {
        assert_eq!(credit(0, 1 << 20), Some(1 << 20));
        assert_eq!(credit(1 << 20, 1 << 20), None);
        assert_eq!(credit((1 << 20) - 1, 1 << 20), Some(MIN_CREDIT));
    }
}

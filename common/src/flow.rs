//! When a direction may be redirected: order and back-pressure.

/// What one queued message costs beside its bytes: `struct sk_msg` with its
/// scatter list (kernel 6.18: 704 bytes from kmalloc-1k). Without it a sender of single bytes
/// would park hundreds of times the limit in kernel memory.
pub const MESSAGE_COST: u32 = 1024;

/// Credit at most between two looks at the reader and at the memory that it is charged to, bytes.
pub const SLICE: u32 = 1 << 20;

/// Sends to skip at most between two looks at a direction on TCP.
pub const MAX_BACKOFF: u16 = 64;

/// What the kernel says about both ends. Sequence numbers in host byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Sender: `tcp_sock.snd_una`, the oldest byte not acknowledged: see [`is_one_connection`].
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
/// Both ends count the same bytes by the same numbers, so what was read is compared with what was sent; an
/// acknowledgement, which a reader may put off, is not waited for.
///
/// The kernel hands out a socket's redirected queue before its TCP queue, so
/// only then may a direction go from TCP to redirection. `owned`: a reader
/// that is inside `tcp_recvmsg` already looks at the TCP queue only, so bytes
/// redirected now and TCP bytes after them could pass each other; once the
/// lock is free, every later call looks at the redirected queue first.
#[inline(always)]
#[must_use]
pub const fn drained(ends: &Ends) -> bool {
    ends.rcv_nxt == ends.write_seq && ends.copied_seq == ends.rcv_nxt && ends.owned == 0
}

/// True where two sockets may be the ends of one connection: what the one expects next
/// ([`Ends::rcv_nxt`]) the other has sent, and knows of no later byte that arrived. For
/// ends of two connections it is chance, one in billions.
#[inline(always)]
#[must_use]
pub const fn is_one_connection(snd_una: u32, write_seq: u32, rcv_nxt: u32) -> bool {
    rcv_nxt.wrapping_sub(snd_una) <= write_seq.wrapping_sub(snd_una)
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

/// What is known of a reader before a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    /// What waits in its redirected queue: [`backlog_cost`].
    pub cost: u64,
    /// `SO_RCVBUF` as the kernel holds it, bytes.
    pub rcvbuf: u32,
    /// Bytes charged to the receive buffer; redirected ones too from 6.13 on, and in late 6.1.y.
    pub rmem: u32,
}

/// Credit that lets at least one message of `size` bytes through, or `None`
/// where the reader is too far behind.
///
/// Three bounds. `limit` is what an operator lets wait in the queue. What waits
/// with the messages' structures may be twice the receive buffer: a thousand
/// stopped readers of small messages would otherwise take nearly twice what
/// plain TCP's queues do (`sockway-e2e test memory`). The third
/// is the receive buffer itself: kernels from 6.13 on (and late 6.1.y) charge redirected bytes to it
/// (`net/ipv4/tcp_bpf.c` `bpf_tcp_ingress`), and over its size the kernel drops
/// what still comes by TCP: data and FIN, which are sent again late, and an RST
/// that meets a reader inside a call, which never is. So redirected bytes keep to half
/// the buffer, and leave the other half to TCP; a single large message may
/// fill it while it is empty.
///
/// Credit is given in parts of [`SLICE`]: memory is looked at with each.
#[inline(always)]
#[must_use]
pub const fn credit(reader: &Reader, limit: u32, size: u32) -> Option<u32> {
    let Reader { cost, rcvbuf, rmem } = *reader;
    let charge = charge(size);
    let limit = least(rcvbuf.saturating_mul(2), limit);
    let half = rcvbuf / 2;
    let buffer = if rmem == 0 { rcvbuf } else { half };
    if cost + charge as u64 > limit as u64 || rmem as u64 + size as u64 > buffer as u64 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "cost < limit, which is a u32"
    )]
    let left = limit - cost as u32;
    let room = half.saturating_sub(rmem);
    let credit = least(least(room, left), SLICE);
    Some(if credit < charge { charge } else { credit })
}

/// `Ord::min` is not const.
#[inline(always)]
const fn least(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}

/// What a message takes from the credit.
#[inline(always)]
#[must_use]
pub const fn charge(size: u32) -> u32 {
    size.saturating_add(MESSAGE_COST)
}

/// What a send takes from the sends still to skip: one, and one for each 4 KiB,
/// because a look costs little beside a large send.
#[inline(always)]
#[must_use]
pub const fn skip_step(size: u32) -> u16 {
    let pages = size >> 12;
    #[expect(clippy::cast_possible_truncation, reason = "at most MAX_BACKOFF")]
    if pages < MAX_BACKOFF as u32 {
        1 + pages as u16
    } else {
        MAX_BACKOFF
    }
}

/// How many sends go by after a look in vain, after so many before it.
#[inline(always)]
#[must_use]
pub const fn next_backoff(backoff: u16) -> u16 {
    match backoff {
        0 => 1,
        _ if backoff > MAX_BACKOFF / 2 => MAX_BACKOFF,
        _ => backoff * 2,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Ends, MAX_BACKOFF, MESSAGE_COST, Reader, backlog_cost, credit, drained, is_one_connection,
        next_backoff,
    };

    #[test]
    fn looks_are_rarer_each_time() {
        let mut backoff = 0;
        for _ in 0..10 {
            let next = next_backoff(backoff);
            assert!(next > backoff || next == MAX_BACKOFF);
            backoff = next;
        }
        assert_eq!(backoff, MAX_BACKOFF);
    }

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
        assert!(
            drained(&Ends { snd_una: 8, ..ends }),
            "read, and not acknowledged"
        );
        assert!(!drained(&Ends {
            rcv_nxt: 8,
            copied_seq: 8,
            ..ends
        }));
        assert!(!drained(&Ends {
            copied_seq: 8,
            ..ends
        }));
        assert!(!drained(&Ends { owned: 1, ..ends }));
    }

    #[test]
    fn ends_of_one_connection_agree_in_their_numbers() {
        let una = u32::MAX;
        assert!(is_one_connection(una, una, una), "idle");
        for rcv_nxt in [una, 0, 9] {
            assert!(is_one_connection(una, 9, rcv_nxt), "{rcv_nxt}");
        }
        for rcv_nxt in [una - 1, 10, 1 << 31] {
            assert!(!is_one_connection(una, 9, rcv_nxt), "{rcv_nxt}");
        }
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
        let reader = Reader {
            cost: 0,
            rcvbuf: 8 << 20,
            rmem: 0,
        };
        assert_eq!(credit(&reader, 1 << 20, 1024), Some(1 << 20));
        assert_eq!(
            credit(
                &Reader {
                    cost: 1 << 20,
                    ..reader
                },
                1 << 20,
                1
            ),
            None
        );
        assert_eq!(
            credit(&reader, 1 << 20, 1 << 20),
            None,
            "the message costs more than its bytes"
        );
    }

    #[test]
    fn small_messages_are_bounded_by_the_buffer() {
        let reader = Reader {
            cost: (256 << 10) - 1088,
            rcvbuf: 128 << 10,
            rmem: 15_000,
        };
        assert_eq!(credit(&reader, 1 << 20, 64), Some(1088), "the last one");
        let full = Reader {
            cost: reader.cost + 1,
            ..reader
        };
        assert_eq!(credit(&full, 1 << 20, 64), None);
    }

    #[test]
    fn redirected_bytes_leave_half_the_buffer_to_tcp() {
        let reader = Reader {
            cost: 0,
            rcvbuf: 128 << 10,
            rmem: 0,
        };
        assert_eq!(credit(&reader, 1 << 20, 1024), Some(64 << 10));
        let nearly = Reader {
            rmem: 63 << 10,
            ..reader
        };
        assert_eq!(credit(&nearly, 1 << 20, 1024), Some(2048), "the last one");
        assert_eq!(credit(&nearly, 1 << 20, 1025), None, "over the half");
        let large = credit(&reader, 1 << 20, 100 << 10);
        assert_eq!(
            large,
            Some(101 << 10),
            "a single large message fits the empty buffer"
        );
    }
}

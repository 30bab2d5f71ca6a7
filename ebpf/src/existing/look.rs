//! Telling what is seen of a socket.

use sockway_common::addr::IpKey;
use sockway_common::existing::{Seen, fact};

use super::{Context, cookie, established, field, tcp_only};
use crate::kernel::At;
use crate::{kernel, sock};

/// `AF_INET` of include/linux/socket.h.
const AF_INET: u16 = 2;

#[inline(always)]
fn address(sock: u64, family: u16, v4: u32, v6: u32) -> IpKey {
    if family == AF_INET {
        return IpKey::from_be32(kernel::read(sock, v4).unwrap_or(0));
    }
    let word = |at: u32| kernel::read(sock, v6.saturating_add(at)).unwrap_or(0);
    IpKey::from_be32x4([word(0), word(4), word(8), word(12)])
}

#[inline(always)]
fn inode(sock: u64) -> Option<u64> {
    let inode: u64 = kernel::read(kernel::file(At::sock(sock))?.address(), field!(file_inode))?;
    kernel::read(inode, field!(inode_number))
}

/// Tells what it sees of a socket.
#[inline(always)]
pub(crate) fn look(ctx: &Context) {
    let (sk, sock) = (ctx.sk(), ctx.sock());
    if sk.is_null() || !established(sock) {
        return;
    }
    let at = At::sock(sock);
    let family: u16 = kernel::read(sock, field!(family)).unwrap_or(0);
    let snd_nxt = kernel::read(sock, field!(snd_nxt)).unwrap_or(0);
    let rcv_nxt = kernel::rcv_nxt(at).unwrap_or(0);
    let mut seen = Seen {
        cookie: cookie(sk),
        sock,
        inode: inode(sock).unwrap_or(0),
        peer_cookie: 0,
        local: address(sock, family, field!(local4), field!(local6)),
        remote: address(sock, family, field!(remote4), field!(remote6)),
        local_port: u32::from(kernel::read::<u16>(sock, field!(local_port)).unwrap_or(0)),
        remote_port: u32::from(u16::from_be(
            kernel::read(sock, field!(remote_port)).unwrap_or(0),
        )),
        snd_nxt,
        rcv_nxt,
        uid: kernel::uid(at).unwrap_or(u32::MAX),
        facts: 0,
        flags: 0,
        pad: 0,
    };
    if kernel::nonblocking(at) == Some(true) {
        seen.facts |= fact::NONBLOCKING;
    }
    if kernel::has_ulp(at) {
        seen.facts |= fact::ULP;
    }
    if tcp_only(at) {
        seen.facts |= fact::TCP_ONLY;
    }
    if let Some(state) = sock::get(sk) {
        seen.facts |= fact::KNOWN;
        seen.flags = state.flags;
        seen.peer_cookie = state.peer_cookie;
    }
    ctx.tell(&seen);
}

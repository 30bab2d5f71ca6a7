//! Errors that come to a connection from outside: `SOCK_DESTROY` and ICMP.

use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Got, errno, get, set};

/// `SOCK_DESTROY` of `linux/sock_diag.h`.
const SOCK_DESTROY: u16 = 21;
/// `NLM_F_REQUEST` and `NLM_F_ACK` of linux/netlink.h.
const REQUEST_ACK: u16 = 1 | 4;

/// Ends a connection as `ss -K` does, by its ends' addresses.
pub(crate) fn destroy(local: SocketAddr, remote: SocketAddr) -> Got<()> {
    let family = if local.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    // struct inet_diag_req_v2 of linux/inet_diag.h behind struct nlmsghdr.
    let mut body = vec![
        family.to_le_bytes()[0],
        libc::IPPROTO_TCP.to_le_bytes()[0],
        0,
        0,
    ];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(local.port().to_be_bytes());
    body.extend(remote.port().to_be_bytes());
    for address in [local, remote] {
        let mut bytes = match address.ip() {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        bytes.resize(16, 0);
        body.extend(bytes);
    }
    body.extend([0; 4]);
    // INET_DIAG_NOCOOKIE.
    body.extend([0xff; 8]);
    let length = u32::try_from(16 + body.len()).unwrap_or(0);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(SOCK_DESTROY.to_ne_bytes());
    message.extend(REQUEST_ACK.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    let fd = netlink.as_raw_fd();
    sendto(fd, &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 256];
    let got = recv(fd, &mut answer, MsgFlags::empty())?;
    let code = answer[..got].get(16..20).ok_or(Errno::EBADMSG)?;
    match i32::from_ne_bytes(code.try_into().unwrap_or_default()) {
        0 => Ok(()),
        error => Err(Errno::from_raw(-error)),
    }
}

/// linux/tcp.h.
const TCP_REPAIR: i32 = 19;
const TCP_REPAIR_QUEUE: i32 = 20;
const TCP_QUEUE_SEQ: i32 = 21;
const SEND_QUEUE: i32 = 2;
const OFF_WITHOUT_PROBE: i32 = -1;

/// One past the last byte that was sent.
fn write_seq(of: &Socket) -> Got<u32> {
    let tcp = libc::IPPROTO_TCP;
    set(of, tcp, TCP_REPAIR, 1)?;
    let seq = set(of, tcp, TCP_REPAIR_QUEUE, SEND_QUEUE).and_then(|()| get(of, tcp, TCP_QUEUE_SEQ));
    set(of, tcp, TCP_REPAIR, OFF_WITHOUT_PROBE)?;
    Ok(seq?.cast_unsigned())
}

/// Tells a connection that its other end's host cannot be reached (RFC 792: type 3, code 1), as
/// a router would.
pub(crate) fn unreachable(of: &Socket, local: SocketAddrV4, remote: SocketAddrV4) -> Got<()> {
    // The packet that it is about: its IPv4 header, and the first bytes of TCP's.
    let mut about = vec![0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0];
    about.extend(local.ip().octets());
    about.extend(remote.ip().octets());
    about.extend(local.port().to_be_bytes());
    about.extend(remote.port().to_be_bytes());
    about.extend(write_seq(of)?.to_be_bytes());
    let mut message = vec![3, 1, 0, 0, 0, 0, 0, 0];
    message.extend(about);
    let sum: u32 = message
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let sum = !folded.to_be_bytes()[2..]
        .iter()
        .fold(0_u16, |all, byte| all << 8 | u16::from(*byte));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let raw =
        Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).map_err(|e| errno(&e))?;
    let to = SocketAddrV4::new(*local.ip(), 0);
    raw.send_to(&message, &to.into()).map_err(|e| errno(&e))?;
    Ok(())
}

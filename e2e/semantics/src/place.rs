//! A network namespace of a run's own: `lo` and the addresses of one pod and its Envoy.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use sockway_common::addr::IpKey;

use crate::pace;

/// Envoy's source address towards its own application.
pub(crate) const ENVOY_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// The same in IPv6.
pub(crate) const ENVOY_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// A pod's addresses: no two runs share them, because what is learned is kept by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    /// IPv4.
    pub(crate) v4: Ipv4Addr,
    /// IPv6.
    pub(crate) v6: Ipv6Addr,
    /// Of the pod that calls it, which is registered too.
    pub(crate) caller_v4: Ipv4Addr,
    /// The same in IPv6.
    pub(crate) caller_v6: Ipv6Addr,
}

impl Pod {
    /// The addresses of a run.
    pub(crate) const fn of(run: u16) -> Self {
        let [high, low] = run.to_be_bytes();
        Self {
            v4: Ipv4Addr::new(10, 9, high, low),
            v6: Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, run),
            caller_v4: Ipv4Addr::new(10, 8, high, low),
            caller_v6: Ipv6Addr::new(0xfd00, 8, 0, 0, 0, 0, 0, run),
        }
    }

    /// Its addresses as they are in the maps.
    pub(crate) fn ips(self) -> [IpKey; 4] {
        self.addresses().map(Into::into)
    }

    /// The same as addresses.
    pub(crate) fn addresses(self) -> [IpAddr; 4] {
        [
            self.v4.into(),
            self.v6.into(),
            self.caller_v4.into(),
            self.caller_v6.into(),
        ]
    }
}

// linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h
const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const REQUEST_ACK_CREATE: u16 = 1 | 4 | 0x400;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const IFF_UP: u32 = 1;
/// How long a route may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// `lo` is the first interface of every namespace.
const LO: u32 = 1;

/// Moves this process, which must have one thread, into a namespace with the pod's addresses.
pub(crate) fn enter(pod: Pod) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace (needs root)")?;
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .context("open a netlink socket")?;
    let mut up = vec![0, 0, 0, 0];
    up.extend(LO.to_ne_bytes());
    up.extend(IFF_UP.to_ne_bytes());
    up.extend(IFF_UP.to_ne_bytes());
    request(&netlink, NEW_LINK, &up).context("bring lo up")?;
    for address in pod.addresses().into_iter().chain([ENVOY_V6.into()]) {
        request(&netlink, NEW_ADDRESS, &new_address(address))
            .with_context(|| format!("give lo the address {address}"))?;
    }
    usable(ENVOY_V6, pod.v6)?;
    usable(pod.caller_v6, pod.v6)?;
    usable(pod.v6, pod.caller_v6)?;
    usable(pod.v6, ENVOY_V6)?;
    usable(pod.v6, Ipv6Addr::LOCALHOST)?;
    usable(Ipv6Addr::LOCALHOST, pod.v6)?;
    Ok(())
}

/// The kernel makes an IPv6 address ready a little later than it acknowledges it.
fn usable(from: Ipv6Addr, to: Ipv6Addr) -> Result<()> {
    let started = Instant::now();
    loop {
        match datagram(from, to) {
            Ok(()) => return Ok(()),
            Err(error) if started.elapsed() > pace::allow(PATIENCE) => {
                return Err(error).with_context(|| format!("wait for a way from {from} to {to}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Sends one datagram and receives it.
fn datagram(from: Ipv6Addr, to: Ipv6Addr) -> io::Result<()> {
    let receiver = UdpSocket::bind((to, 0))?;
    receiver.set_read_timeout(Some(Duration::from_millis(20)))?;
    let sender = UdpSocket::bind((from, 0))?;
    sender.send_to(b"?", receiver.local_addr()?)?;
    receiver.recv(&mut [0])?;
    Ok(())
}

fn new_address(address: IpAddr) -> Vec<u8> {
    let (family, prefix, bytes) = match address {
        IpAddr::V4(v4) => (libc::AF_INET, 32, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, 128, v6.octets().to_vec()),
    };
    let mut body = vec![u8::try_from(family).unwrap_or(0), prefix, IFA_F_NODAD, 0];
    body.extend(LO.to_ne_bytes());
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        let length = u16::try_from(4 + bytes.len()).unwrap_or(0);
        body.extend(length.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(&bytes);
    }
    body
}

fn request(netlink: &OwnedFd, kind: u16, body: &[u8]) -> Result<()> {
    let length = u32::try_from(16 + body.len())?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(REQUEST_ACK_CREATE.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let fd = netlink.as_raw_fd();
    sendto(fd, &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 1024];
    let got = recv(fd, &mut answer, MsgFlags::empty())?;
    let answer = &answer[..got];
    let (Some(kind), Some(error)) = (answer.get(4..6), answer.get(16..20)) else {
        bail!("a netlink answer of {got} bytes");
    };
    if u16::from_ne_bytes(kind.try_into()?) != ERROR {
        bail!("a netlink answer that is no acknowledgement");
    }
    match i32::from_ne_bytes(error.try_into()?) {
        0 => Ok(()),
        error => Err(std::io::Error::from_raw_os_error(-error).into()),
    }
}

/// Writes a setting of this namespace under `/proc/sys/net`.
pub(crate) fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{name}");
    std::fs::write(&path, value).with_context(|| format!("write {value} to {path}"))
}

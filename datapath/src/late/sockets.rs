//! The TCP sockets of the network namespace that this thread is in, as `sock_diag(7)` lists them.
//!
//! Not as `/proc/net/tcp` does: a socket that nobody asked for its cookie has none, and no program
//! may give it one. Being listed does (`net/core/sock_diag.c` `sock_diag_save_cookie`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};

use sockway_common::addr::IpKey;

use crate::Error;

/// States of `include/net/tcp_states.h`.
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;

/// `SOCK_DIAG_BY_FAMILY` of `include/uapi/linux/sock_diag.h`, and kinds of
/// `include/uapi/linux/netlink.h`.
const BY_FAMILY: u16 = 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// Length of `struct nlmsghdr`, and of `struct inet_diag_req_v2`.
const HEAD: usize = 16;
const REQUEST: usize = 56;
/// The kernel fills no more at a time.
const BUFFER: usize = 32 << 10;

/// A socket that is established.
#[derive(Clone, Copy, Debug)]
pub(super) struct Established {
    pub(super) cookie: u64,
    pub(super) local: (IpKey, u16),
    pub(super) remote: (IpKey, u16),
}

/// What is listed.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Those that are established.
    pub(super) established: Vec<Established>,
    /// Inode numbers of listening sockets, by port.
    pub(super) listening: HashMap<u16, u64>,
}

impl Sockets {
    /// Lists them.
    pub(super) fn list() -> Result<Self, Error> {
        let failed = |e| Error::io("list", "TCP sockets by sock_diag (module tcp_diag)", e);
        let mut found = Self::default();
        let mut netlink = open().map_err(failed)?;
        for family in [libc::AF_INET, libc::AF_INET6] {
            found.dump(&mut netlink, family).map_err(failed)?;
        }
        Ok(found)
    }

    fn dump(&mut self, netlink: &mut File, family: libc::c_int) -> io::Result<()> {
        netlink.write_all(&request(family))?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let got = netlink.read(&mut buffer)?;
            if got == 0 || !self.messages(&buffer[..got])? {
                return Ok(());
            }
        }
    }

    /// Takes in messages as they come; false after the last one.
    fn messages(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        while let Some((length, kind)) = head(bytes) {
            let Some(message) = bytes.get(HEAD..length) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            match kind {
                DONE => return Ok(false),
                ERROR => {
                    let code = word(message, 0).map_or(0, u32::cast_signed);
                    return Err(io::Error::from_raw_os_error(-code));
                }
                _ => {
                    let _other_kind = self.add(message);
                }
            }
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(true)
    }

    /// Takes in a `struct inet_diag_msg`: family, state, two more bytes; ports, addresses, interface,
    /// cookie; four words; the inode's number.
    fn add(&mut self, message: &[u8]) -> Option<()> {
        let family = libc::c_int::from(*message.first()?);
        let state = *message.get(1)?;
        let port = |at: usize| {
            Some(u16::from_be_bytes([
                *message.get(at)?,
                *message.get(at + 1)?,
            ]))
        };
        let address = |at: usize| {
            let words = [0, 4, 8, 12].map(|word_at| word(message, at + word_at));
            let [Some(a), Some(b), Some(c), Some(d)] = words else {
                return None;
            };
            Some(if family == libc::AF_INET {
                IpKey::from_be32(a)
            } else {
                IpKey::from_be32x4([a, b, c, d])
            })
        };
        let (local, remote) = ((address(8)?, port(4)?), (address(24)?, port(6)?));
        match state {
            ESTABLISHED => {
                // Low word first (`sock_diag_save_cookie`).
                let [low, high] = [word(message, 44)?, word(message, 48)?].map(u64::from);
                self.established.push(Established {
                    cookie: high << 32 | low,
                    local,
                    remote,
                });
            }
            LISTEN => {
                let inode = u64::from(word(message, 68)?);
                self.listening.entry(local.1).or_insert(inode);
            }
            _ => {}
        }
        Some(())
    }
}

fn open() -> io::Result<File> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// A dump of the established and listening sockets of a family.
fn request(family: libc::c_int) -> [u8; HEAD + REQUEST] {
    let mut request = [0; HEAD + REQUEST];
    let length = u32::try_from(request.len()).unwrap_or(0);
    request[..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    request[HEAD] = u8::try_from(family).unwrap_or(0);
    request[HEAD + 1] = u8::try_from(libc::IPPROTO_TCP).unwrap_or(0);
    let states: u32 = 1 << ESTABLISHED | 1 << LISTEN;
    request[HEAD + 4..HEAD + 8].copy_from_slice(&states.to_ne_bytes());
    request
}

/// Length and kind of the message at the front; `None` where none is left.
fn head(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = usize::try_from(word(bytes, 0)?).ok()?;
    let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    (length >= HEAD).then_some((length, kind))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{DONE, ERROR, Sockets};
    use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn sockets_of_this_process_are_listed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let client = TcpStream::connect(at).unwrap();
        let found = Sockets::list().unwrap();
        let client = client.local_addr().unwrap();
        let [local, remote] = found
            .established
            .iter()
            .find(|socket| socket.local.1 == client.port())
            .map(|socket| [socket.local, socket.remote])
            .unwrap();
        assert_eq!(IpAddr::from(local.0), client.ip());
        assert_eq!((IpAddr::from(remote.0), remote.1), (at.ip(), at.port()));
        let listener = std::os::fd::OwnedFd::from(listener);
        let inode = std::fs::File::from(listener).metadata().unwrap().ino();
        assert_eq!(found.listening.get(&at.port()), Some(&inode));
    }

    #[test]
    fn what_the_kernel_refuses_is_an_error() {
        let message = |kind: u16, rest: &[u8]| {
            let length = u32::try_from(16 + rest.len()).unwrap();
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(rest);
            bytes
        };
        let mut found = Sockets::default();
        assert!(found.messages(&[]).unwrap());
        assert!(found.messages(&message(20, b"too short")).unwrap());
        assert!(!found.messages(&message(DONE, &[0; 4])).unwrap());
        let refused = message(ERROR, &(-2_i32).to_ne_bytes());
        let error = found.messages(&refused).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        assert!(found.established.is_empty());
    }
}

//! What goes over one interface of a pod, as packets: the kernel's own view of the wire.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::place::Place;

/// Bytes that are kept at most; what comes later is dropped.
const MOST: usize = 64 << 20;
/// Larger than any packet, also one that segmentation is left to the card for.
const PACKET: usize = 128 << 10;
/// How often the end is looked for, milliseconds.
const TICK: i64 = 20;

/// A capture that runs.
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<u8>>>,
}

impl Capture {
    /// From now on, in a place's network namespace.
    pub fn start(place: &Place, interface: &str) -> Result<Self> {
        let interface = interface.to_owned();
        let (socket, index) = place.within(move || {
            let index = nix::net::if_::if_nametoindex(interface.as_str()).context("interface")?;
            let all = SockProtocol::EthAll;
            let flags = SockFlag::SOCK_CLOEXEC;
            let socket = socket(AddressFamily::Packet, SockType::Raw, flags, all);
            Ok((socket.context("open a packet socket")?, index as usize))
        })?;
        let tick = TimeVal::milliseconds(TICK);
        setsockopt(&socket, sockopt::ReceiveTimeout, &tick).context("SO_RCVTIMEO")?;
        setsockopt(&socket, sockopt::RcvBufForce, &MOST).context("SO_RCVBUFFORCE")?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = thread::spawn(move || take(&socket, index, &flag));
        Ok(Self { stop, thread })
    }

    /// Ends it; every packet's bytes, one after the other.
    pub fn end(self) -> Result<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        let done = self.thread.join();
        done.map_err(|_| anyhow!("panic in a capture"))?
    }
}

fn take(socket: &OwnedFd, index: usize, stop: &AtomicBool) -> Result<Vec<u8>> {
    let (mut bytes, mut packet) = (Vec::new(), vec![0; PACKET]);
    while bytes.len() < MOST {
        match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut packet) {
            Ok((length, from)) => {
                if from.is_some_and(|from| from.ifindex() == index) {
                    bytes.extend_from_slice(&packet[..length]);
                }
            }
            // Whatever was there has been read.
            Err(Errno::EAGAIN) if stop.load(Ordering::Relaxed) => break,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error).context("receive a packet"),
        }
    }
    Ok(bytes)
}

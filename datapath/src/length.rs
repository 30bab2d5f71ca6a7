//! How this kernel answers `FIONREAD` for a socket in a sockhash: measured, for stable kernels
//! differ from build to build.
//!
//! Commit 929e30f93125 (6.6.128, 6.12.75, 6.18.14, 6.19) answers for bytes in the TCP queue with 0,
//! until 04af4efde58a.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Map, MapData, SockHash};
use nix::sched::{CloneFlags, unshare};
use sockway_common::policy::fionread;

use crate::sys;

const BYTES: &[u8] = b"as many as these";
/// Loopback delivers at once; longer than this nothing can be told.
const PATIENCE: Duration = Duration::from_secs(2);

/// One of [`fionread`]; `guards`: who asks will be seen. What cannot be measured counts as wrong.
pub(crate) fn measure(guards: bool) -> u32 {
    // A thread of its own, for it ends in a network namespace of its own.
    let measured = thread::spawn(ask).join();
    let right = match measured {
        Ok(Ok(right)) => right,
        Ok(Err(e)) => {
            log::warn!("cannot measure how FIONREAD is answered, so it counts as wrong: {e}");
            false
        }
        Err(_) => false,
    };
    match (right, guards) {
        (true, _) => fionread::RIGHT,
        (false, true) => fionread::WRONG,
        (false, false) => fionread::WRONG_UNSEEN,
    }
}

fn ask() -> io::Result<bool> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    sys::raise_loopback()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (reader, _) = listener.accept()?;
    let map = MapData::from_fd(sys::sockhash(1)?).map_err(io::Error::other)?;
    let map = SockHash::<_, u32>::try_from(Map::SockHash(map));
    let mut map = map.map_err(io::Error::other)?;
    map.insert(0, reader.as_raw_fd(), 0)
        .map_err(io::Error::other)?;
    sender.write_all(BYTES)?;
    // Until they are there, by a call that takes nothing away.
    let mut peeked = [0; BYTES.len()];
    let start = Instant::now();
    reader.set_read_timeout(Some(PATIENCE))?;
    while reader.peek(&mut peeked)? < BYTES.len() {
        if start.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    let mut length: libc::c_int = 0;
    // SAFETY: the request writes one int, which `length` is.
    let failed = unsafe { libc::ioctl(reader.as_raw_fd(), libc::FIONREAD, &raw mut length) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(length).is_ok_and(|length| length == BYTES.len()))
}

//! Whether FIONREAD of a socket in a sockhash says what lies in its TCP queue:
//! asked of the kernel with a map of our own, not of Sockway.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// `enum bpf_cmd`.
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
/// `enum bpf_map_type`.
const SOCKHASH: u32 = 18;

/// The members of `union bpf_attr` that creating a map takes.
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// And those that writing an element takes; addresses as numbers.
#[repr(C)]
struct Update {
    map: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Asks in the network namespace of this thread.
pub(crate) fn is_right() -> Result<bool> {
    const TEXT: &[u8] = b"some bytes";
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    let mut sender = TcpStream::connect(listener.local_addr()?).context("connect")?;
    let (reader, _) = listener.accept().context("accept")?;
    let map = sockhash()?;
    let (key, value) = (0_u32, u64::try_from(reader.as_raw_fd())?);
    let update = Update {
        map: u32::try_from(map.as_raw_fd())?,
        _pad: 0,
        key: (&raw const key) as u64,
        value: (&raw const value) as u64,
        flags: 0,
    };
    bpf(MAP_UPDATE_ELEM, &update).context("put a socket into a sockhash")?;
    sender.write_all(TEXT).context("send")?;
    for _ in 0..100 {
        let mut said: libc::c_int = 0;
        // SAFETY: FIONREAD writes one int, and `said` is one that lives on.
        let done = unsafe { libc::ioctl(reader.as_raw_fd(), libc::FIONREAD, &raw mut said) };
        ensure!(done == 0, "FIONREAD: {}", std::io::Error::last_os_error());
        if usize::try_from(said)? == TEXT.len() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(false)
}

fn sockhash() -> Result<OwnedFd> {
    let create = Create {
        map_type: SOCKHASH,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
    };
    let map = bpf(MAP_CREATE, &create).context("create a sockhash")?;
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(map) })
}

/// `bpf(2)`: a descriptor or 0.
fn bpf<T>(command: libc::c_int, attr: &T) -> Result<libc::c_int> {
    // SAFETY: `attr` is a `repr(C)` prefix of `union bpf_attr` of the size that is passed; what
    // its members point to outlives the call, with the sizes of the map's keys and values.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    ensure!(
        result >= 0,
        "bpf({command}): {}",
        std::io::Error::last_os_error()
    );
    Ok(libc::c_int::try_from(result)?)
}

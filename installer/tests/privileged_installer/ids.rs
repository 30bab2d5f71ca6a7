//! The kernel's numbers of what an installation loaded, to see that it is gone afterwards.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use sockway_common::layout;

use super::keeper::until;
use super::node::Node;

/// Commands of include/uapi/linux/bpf.h.
const OBJ_GET: libc::c_int = 7;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const MAP_GET_FD_BY_ID: libc::c_int = 14;
const PROG_QUERY: libc::c_int = 16;
const LINK_GET_FD_BY_ID: libc::c_int = 30;
/// `BPF_SK_MSG_VERDICT`.
const SK_MSG_VERDICT: u32 = 7;

/// The head of `union bpf_attr`, as the commands here use it.
#[repr(C)]
#[derive(Default)]
struct Attr {
    words: [u64; 6],
}

fn bpf(command: libc::c_int, attr: &mut Attr) -> std::io::Result<libc::c_long> {
    // SAFETY: a live and initialised value, passed with its size; the pointers in it are to values
    // that outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<Attr>()) };
    if result < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn descriptor(command: libc::c_int, first_word: u64) -> std::io::Result<OwnedFd> {
    let mut attr = Attr::default();
    attr.words[0] = first_word;
    let fd = RawFd::try_from(bpf(command, &mut attr)?).unwrap();
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn pinned(path: &Path) -> OwnedFd {
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    descriptor(OBJ_GET, name.as_ptr() as u64).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Programs, maps and links by number.
#[derive(Debug, Default)]
pub(crate) struct Ids(Vec<(libc::c_int, u32)>);

impl Ids {
    /// Of everything that is pinned, and of the program that the sockhash holds.
    pub(crate) fn of(node: &Node) -> Self {
        let mut ids = Self::default();
        for entry in fs::read_dir(node.pins().dir()).unwrap() {
            let fd = pinned(&entry.unwrap().path());
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
            for (field, command) in [
                ("map_id:", MAP_GET_FD_BY_ID),
                ("prog_id:", PROG_GET_FD_BY_ID),
                ("link_id:", LINK_GET_FD_BY_ID),
            ] {
                let found = info.lines().find_map(|line| line.strip_prefix(field));
                ids.0
                    .extend(found.map(|id| (command, id.trim().parse().unwrap())));
            }
        }
        let sockets = pinned(&node.pins().map(layout::SOCKETS));
        let mut program = 0_u32;
        let target = u64::try_from(sockets.as_raw_fd()).unwrap() | u64::from(SK_MSG_VERDICT) << 32;
        let mut query = Attr {
            // target and attach type; flags; room for one number; how many there is room for.
            words: [target, 0, (&raw mut program) as u64, 1, 0, 0],
        };
        bpf(PROG_QUERY, &mut query).unwrap();
        assert_ne!(program, 0, "the sockhash has a program");
        ids.0.push((PROG_GET_FD_BY_ID, program));
        assert!(ids.0.len() > layout::MAPS.len() + 2, "{ids:?}");
        ids
    }

    /// Asserts that nothing of it is loaded any more. The kernel frees in the background.
    pub(crate) fn assert_gone(&self) {
        let loaded =
            |(command, id): &(libc::c_int, u32)| descriptor(*command, u64::from(*id)).is_ok();
        until("everything is unloaded", Duration::from_secs(10), || {
            !self.0.iter().any(loaded)
        });
    }
}

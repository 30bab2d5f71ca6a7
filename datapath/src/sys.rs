//! The few system calls on pinned links that aya does not offer.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Commands of include/uapi/linux/bpf.h.
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;
/// Of include/uapi/linux/membarrier.h.
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// The members of `union bpf_attr` in use here, each as the kernel lays it out.
#[repr(C)]
#[derive(Default)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct LinkUpdate {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkDetach {
    link_fd: u32,
}

#[repr(C)]
#[derive(Default)]
struct ProgQuery {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Default)]
struct MapBatch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// `BPF_CGROUP_SOCK_OPS` of `enum bpf_attach_type`.
const CGROUP_SOCK_OPS: u32 = 3;
/// Programs that a query asks for: the kernel lets 64 into one cgroup.
const MAX_PROGRAMS: usize = 64;

/// The `sock_ops` programs that are attached to one cgroup itself.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// Their ids.
    pub(crate) ids: Vec<u32>,
    /// `BPF_F_ALLOW_OVERRIDE` (1) and `BPF_F_ALLOW_MULTI` (2), as the first one was attached.
    pub(crate) flags: u32,
}

impl Attached {
    /// Whether the kernel refuses a further program: on the same cgroup beside any that was not
    /// attached for several, below it where it may not be overridden either
    /// (kernel/bpf/cgroup.c `hierarchy_allows_attach`, `__cgroup_bpf_attach`).
    pub(crate) fn admits_no_other(&self, same: bool) -> bool {
        let (over, multi) = (self.flags & 1 != 0, self.flags & 2 != 0);
        !self.ids.is_empty() && !multi && (same || !over)
    }
}

/// The head of `struct bpf_link_info`, with the union read as a cgroup link's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkInfo {
    /// Type of the link.
    pub(crate) kind: u32,
    /// Id of the link.
    pub(crate) id: u32,
    /// Id of the program behind it.
    pub(crate) program_id: u32,
    pad: u32,
    /// For cgroup links: the cgroup's id, which is its directory's inode number.
    pub(crate) cgroup_id: u64,
    /// For cgroup links: the attach type.
    pub(crate) attach_type: u32,
    pad2: u32,
}

fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is a live, fully initialised value, laid out as the
    // kernel's attribute for the command and passed with its size; pointers and
    // descriptors in it are valid for the caller's borrow.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A command that makes a descriptor.
fn descriptor<T>(command: libc::c_int, attr: &mut T) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(bpf(command, attr)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: BorrowedFd<'_>) -> io::Result<u32> {
    u32::try_from(fd.as_raw_fd()).map_err(io::Error::other)
}

/// Opens what is pinned at `path`.
///
/// # Errors
///
/// The kernel's: `ENOENT` where nothing is pinned, `EPERM` without the right.
pub(crate) fn object_at(path: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut attr = ObjGet {
        pathname: name.as_ptr() as u64,
        ..ObjGet::default()
    };
    descriptor(BPF_OBJ_GET, &mut attr)
}

/// Makes a sockhash with keys and values of 4 bytes, which aya makes only for objects.
///
/// # Errors
///
/// The kernel's, for example `EINVAL` where it has none.
pub(crate) fn sockhash(rows: u32) -> io::Result<OwnedFd> {
    /// `BPF_MAP_TYPE_SOCKHASH` of `enum bpf_map_type`.
    const SOCKHASH: u32 = 18;
    let mut attr = MapCreate {
        kind: SOCKHASH,
        key_size: 4,
        value_size: 4,
        max_entries: rows,
    };
    descriptor(BPF_MAP_CREATE, &mut attr)
}

/// Lets this process hold as much memory in maps and programs as it needs, where the kernel charges
/// them to the limit (before 5.11). Who may not raise it is told by what is made next.
pub(crate) fn raise_memlock() {
    let all = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the limits are a live value of the type that the call reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const all) } != 0 {
        log::debug!(
            "cannot raise RLIMIT_MEMLOCK: {}",
            io::Error::last_os_error()
        );
    }
}

/// Whether the kernel takes a program of a kind (`enum bpf_prog_type`), which is given back at once.
pub(crate) fn takes(kind: u32, instructions: &[[u8; 8]]) -> bool {
    let Ok(count) = u32::try_from(instructions.len()) else {
        return false;
    };
    let mut attr = ProgLoad {
        kind,
        count,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..ProgLoad::default()
    };
    descriptor(BPF_PROG_LOAD, &mut attr).is_ok()
}

/// What the kernel says about a link.
///
/// # Errors
///
/// The kernel's, for example `EINVAL` where the descriptor is no BPF object.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let info_len = u32::try_from(size_of::<LinkInfo>()).map_err(io::Error::other)?;
    let mut attr = InfoByFd {
        bpf_fd: number(link)?,
        info_len,
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

/// Puts another program behind a link, atomically: no event runs without a program.
///
/// # Errors
///
/// The kernel's, for example `EINVAL` for a program of another type.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkUpdate {
        link_fd: number(link)?,
        new_prog_fd: number(program)?,
        ..LinkUpdate::default()
    };
    bpf(BPF_LINK_UPDATE, &mut attr).map(|_| ())
}

/// Detaches what a link attaches, before it returns. Where the last reference
/// goes instead, the kernel does so some time later (`bpf_link_put` leaves it to a worker).
///
/// # Errors
///
/// The kernel's: `EOPNOTSUPP` for links other than those of cgroups and the like.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkDetach {
        link_fd: number(link)?,
    };
    bpf(BPF_LINK_DETACH, &mut attr).map(|_| ())
}

/// Looks up the next rows of a hash map, from `at` on; `next`: where to go on. How many were
/// found, and whether there may be more.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn lookup_batch<K: aya::Pod, V: aya::Pod>(
    map: BorrowedFd<'_>,
    at: Option<&u32>,
    next: &mut u32,
    keys: &mut [MaybeUninit<K>],
    values: &mut [MaybeUninit<V>],
) -> io::Result<(usize, bool)> {
    let room = keys.len().min(values.len());
    let mut attr = MapBatch {
        in_batch: at.map_or(0, |at| core::ptr::from_ref(at) as u64),
        out_batch: core::ptr::from_mut(next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(room).map_err(io::Error::other)?,
        map_fd: number(map)?,
        ..MapBatch::default()
    };
    let more = match bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) {
        Ok(_) => true,
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(e) => return Err(e),
    };
    let count = usize::try_from(attr.count).map_err(io::Error::other)?;
    Ok((count.min(room), more))
}

/// Waits until every program that runs now has ended: they run inside RCU read
/// sections, and `membarrier(2)` waits for those (`kernel/sched/membarrier.c`
/// calls `synchronize_rcu`).
///
/// # Errors
///
/// The kernel's: `EINVAL` where CPUs are isolated with `nohz_full`.
pub(crate) fn wait_for_running_programs() -> io::Result<()> {
    // SAFETY: the command takes two more numbers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Lists the `sock_ops` programs of a cgroup.
///
/// # Errors
///
/// The kernel's, for example `EBADF` for a directory that is no cgroup.
pub(crate) fn sock_ops_of(cgroup: BorrowedFd<'_>) -> io::Result<Attached> {
    let mut ids = vec![0_u32; MAX_PROGRAMS];
    let mut attr = ProgQuery {
        target_fd: number(cgroup)?,
        attach_type: CGROUP_SOCK_OPS,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: u32::try_from(MAX_PROGRAMS).map_err(io::Error::other)?,
        ..ProgQuery::default()
    };
    bpf(BPF_PROG_QUERY, &mut attr)?;
    ids.truncate(usize::try_from(attr.prog_cnt).map_err(io::Error::other)?);
    Ok(Attached {
        flags: attr.attach_flags,
        ids,
    })
}

/// Raises `lo` of the caller's network namespace.
///
/// # Errors
///
/// The kernel's, for example `EPERM` without `CAP_NET_ADMIN` there.
pub(crate) fn raise_loopback() -> io::Result<()> {
    /// `LOOPBACK_IFINDEX` of include/linux/netdevice.h, in every namespace.
    const LOOPBACK: i32 = 1;
    // SAFETY: sends one netlink request, made by the library itself, about an
    // interface that every network namespace has.
    unsafe { aya::sys::netlink_set_link_up(LOOPBACK) }.map_err(io::Error::other)
}

/// Gives freed memory back to the kernel.
pub(crate) fn give_memory_back() {
    // musl gives large allocations back by itself and has no such call.
    #[cfg(target_env = "gnu")]
    // SAFETY: has no preconditions; it looks at the allocator's own lists under its lock.
    unsafe {
        libc::malloc_trim(0);
    }
}

//! Casts of addresses to types of the kernel, which neither rustc nor aya can express.
//!
//! The programs hold `r2 = MARK | index`, `r0 = r1` wherever they cast `r1` ([`MARK`]). Where the kernel has the kfunc
//! `bpf_rdonly_cast` (6.2, commit a35b9af4ec2c), user space makes a call of it before
//! the programs are loaded. The verifier turns that into a move again
//! (`kernel/bpf/verifier.c` `fixup_kfunc_call`), so a cast costs nothing, and fields behind the
//! pointer are plain loads that fault safely.

/// Types that are cast to; each is at the index of its constant.
pub const TYPES: [&str; 7] = [
    "tcp_sock",
    "tcp_request_sock",
    "bpf_sock_ops_kern",
    "file",
    "sk_psock",
    "page_counter",
    "socket",
];
/// Indices of [`TYPES`].
pub const TCP_SOCK: u32 = 0;
/// See [`TCP_SOCK`].
pub const TCP_REQUEST_SOCK: u32 = 1;
/// See [`TCP_SOCK`].
pub const SOCK_OPS: u32 = 2;
/// See [`TCP_SOCK`].
pub const FILE: u32 = 3;
/// See [`TCP_SOCK`].
pub const PSOCK: u32 = 4;
/// See [`TCP_SOCK`].
pub const PAGE_COUNTER: u32 = 5;
/// See [`TCP_SOCK`].
pub const SOCKET: u32 = 6;

/// Kernel function that casts: `void *bpf_rdonly_cast(const void *obj, u32 btf_id)`.
pub const FUNCTION: &str = "bpf_rdonly_cast";

/// What `r2` is set to before a placeholder, beside a type's index in its lowest byte.
pub const MARK: u32 = 0x50c7_ca00;

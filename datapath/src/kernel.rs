//! What this kernel offers: field offsets from its BTF, and what that allows.

use std::fs;
use std::path::{Path, PathBuf};

use btfparse::{Offset, Readable, TypeInformation, TypeVariant};
use sockway_common::config::{Arch, Offsets, UNKNOWN};

use crate::Error;

/// Where a kernel with `CONFIG_DEBUG_INFO_BTF` offers its types.
pub const BTF: &str = "/sys/kernel/btf/vmlinux";

/// BTF in memory, for the parser.
struct Bytes(Vec<u8>);

impl Readable for Bytes {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> btfparse::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = start.saturating_add(buffer.len());
        let bytes = self.0.get(start..range).ok_or_else(|| {
            std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the BTF ends early")
        })?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// One kernel field: its type, its path in it, and where its offset goes.
pub(crate) struct Field<T> {
    pub(crate) of: &'static str,
    pub(crate) path: &'static str,
    pub(crate) slot: fn(&mut T) -> &mut u32,
}

macro_rules! fields {
    ($($of:literal $path:expr => $slot:ident),+ $(,)?) => {
        [$($crate::kernel::Field { of: $of, path: $path, slot: |o| &mut o.$slot }),+]
    };
}
pub(crate) use fields;

/// What is no plain field: its name in [`table`], and where it goes.
type Other = (&'static str, fn(&mut Offsets) -> &mut u32);

/// Every one of them.
const OTHERS: [Other; 3] = [
    ("sizeof lru_gen_folio.nr_pages", |o| {
        &mut o.memcg_generations_size
    }),
    ("sizeof pt_regs", |o| &mut o.regs_size),
    ("bit of tcp_sock.recvmsg_inq", |o| {
        &mut o.tcp_recvmsg_inq_bit
    }),
];

/// Every field that the programs read.
const FIELDS: [Field<Offsets>; sockway_common::config::OFFSETS - OTHERS.len()] = fields![
    "bpf_sock_ops_kern" "sk" => sops_sk,
    "tcp_request_sock" "rcv_isn" => req_rcv_isn,
    "tcp_request_sock" "snt_isn" => req_snt_isn,
    "sock" "sk_user_data" => sk_user_data,
    "sock" "sk_socket" => sk_socket,
    "sock" "__sk_common.skc_cookie" => sk_cookie,
    "sock" "sk_lock.owned" => sk_lock_owned,
    "sock" "sk_rcvlowat" => sk_rcvlowat,
    "sock" "sk_rcvbuf" => sk_rcvbuf,
    "sock" "sk_backlog.rmem_alloc" => sk_rmem_alloc,
    "sock" "sk_bpf_storage" => sk_bpf_storage,
    "sock" "__sk_common.skc_flags" => sk_flags,
    "sock" "sk_uid" => sk_uid,
    "socket" "sk" => socket_sk,
    "socket" "file" => socket_file,
    "file" "f_flags" => file_flags,
    "file" "f_ep" => file_ep,
    "file" "f_ep_links" => file_ep_links,
    "epitem" "fllink" => epitem_link,
    "epitem" "event.events" => epitem_events,
    "sk_psock" "ingress_msg" => psock_ingress_msg,
    "sk_psock" "msg_tot_len" => psock_msg_tot_len,
    "sk_msg" "list" => msg_list,
    "sk_msg" "sg.size" => msg_size,
    "tcp_sock" "copied_seq" => tcp_copied_seq,
    "tcp_sock" "rcv_nxt" => tcp_rcv_nxt,
    "tcp_sock" "snd_una" => tcp_snd_una,
    "tcp_sock" "write_seq" => tcp_write_seq,
    "sock" "sk_tsflags" => sk_tsflags,
    "sock" "sk_peek_off" => sk_peek_off,
    "sock" "sk_err" => sk_err,
    "sock" "__sk_common.skc_prot" => sk_prot,
    "proto" "memory_pressure" => proto_memory_pressure,
    "sock" "sk_memcg" => sk_memcg,
    "mem_cgroup" "memory" => memcg_memory,
    "mem_cgroup" "nodeinfo" => memcg_nodeinfo,
    "mem_cgroup_per_node" "lru_zone_size" => memcg_lru,
    "mem_cgroup_per_node" GENERATIONS => memcg_generations,
    "page_counter" "usage" => counter_usage,
    "page_counter" "max" => counter_max,
    "page_counter" "parent" => counter_parent,
    "tcp_sock" "urg_seq" => tcp_urg_seq,
    "inet_connection_sock" "icsk_ulp_ops" => icsk_ulp_ops,
    "task_struct" "stack" => task_stack,
    "pt_regs" REGS_CALL => regs_call,
    "pt_regs" REGS_MODE => regs_mode,
    "pt_regs" REGS_THIRD => regs_third,
    "pt_regs" REGS_FOURTH => regs_fourth,
];

/// An array of three dimensions, which BTF may show as one of one.
const GENERATIONS: &str = "lruvec.lrugen.nr_pages";

/// The fields of `pt_regs` that tell a system call, by architecture.
#[cfg(target_arch = "aarch64")]
const REGS_CALL: &str = "syscallno";
#[cfg(target_arch = "aarch64")]
const REGS_MODE: &str = "pstate";
#[cfg(target_arch = "aarch64")]
const REGS_THIRD: &str = "regs[2]";
#[cfg(target_arch = "aarch64")]
const REGS_FOURTH: &str = "regs[3]";
#[cfg(not(target_arch = "aarch64"))]
const REGS_CALL: &str = "orig_ax";
#[cfg(not(target_arch = "aarch64"))]
const REGS_MODE: &str = "cs";
#[cfg(not(target_arch = "aarch64"))]
const REGS_THIRD: &str = "dx";
#[cfg(not(target_arch = "aarch64"))]
const REGS_FOURTH: &str = "r10";

/// How system calls look on the architecture this is built for.
pub const ARCH: Arch = if cfg!(target_arch = "aarch64") {
    Arch::AARCH64
} else {
    Arch::X86_64
};

/// The offsets of this kernel; what it lacks is [`UNKNOWN`].
///
/// `btf` names another BTF file than [`BTF`], for tests.
///
/// # Errors
///
/// [`Error::Btf`] where the file is there but cannot be read or parsed. A
/// kernel without BTF is no error: every offset is unknown then.
pub fn offsets(btf: Option<&Path>) -> Result<Offsets, Error> {
    let mut offsets = Offsets::NONE;
    let Some(types) = types(btf)? else {
        return Ok(offsets);
    };
    find(&types, &FIELDS, &mut offsets);
    let inq = structure(&types, "tcp_sock");
    let inq = inq.and_then(|id| types.offset_of(id, "recvmsg_inq").ok());
    offsets.tcp_recvmsg_inq_bit = match inq {
        Some((_, Offset::BitOffsetAndSize(bit, 1))) => bit,
        _ => UNKNOWN,
    };
    let size = |id| {
        let size = types.size_of(id).ok();
        size.and_then(|size| u32::try_from(size).ok())
    };
    let regs = structure(&types, "pt_regs").and_then(size);
    offsets.regs_size = regs.unwrap_or(UNKNOWN);
    let node = structure(&types, "mem_cgroup_per_node");
    let generations = node.and_then(|id| types.offset_of(id, GENERATIONS).ok());
    let generations = generations.and_then(|(id, _)| size(id));
    offsets.memcg_generations_size = generations.unwrap_or(UNKNOWN);
    Ok(offsets)
}

/// The kernel's types, or those of another file; `None` where there is no such file.
///
/// # Errors
///
/// [`Error::Btf`] where the file is there but cannot be read or parsed.
pub(crate) fn types(btf: Option<&Path>) -> Result<Option<TypeInformation>, Error> {
    let path = btf.map_or_else(|| PathBuf::from(BTF), Path::to_owned);
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Btf {
        path: path.clone(),
        source,
    };
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e.into())),
    };
    TypeInformation::new(&Bytes(bytes))
        .map(Some)
        .map_err(|e| failed(format!("{e:?}").into()))
}

/// Looks every field up; what the kernel lacks becomes [`UNKNOWN`].
pub(crate) fn find<T>(types: &TypeInformation, fields: &[Field<T>], into: &mut T) {
    for Field { of, path, slot } in fields {
        let found = structure(types, of).and_then(|id| types.offset_of(id, path).ok());
        *slot(into) = match found {
            Some((_, Offset::ByteOffset(bytes))) => bytes,
            _ => UNKNOWN,
        };
    }
}

/// The id of a structure. A forward declaration may come behind it under the same
/// name, and the parser's own look-up would give that: `pt_regs` on Debian's 5.10.
fn structure(types: &TypeInformation, name: &str) -> Option<u32> {
    let is_structure = |id: &u32| matches!(types.get().get(id), Some(TypeVariant::Struct(_)));
    types.id_of(name).filter(is_structure).or_else(|| {
        let mut ids = types.get().keys().copied().filter(is_structure);
        ids.find(|&id| types.name_of(id).as_deref() == Some(name))
    })
}

/// Every field as `type.path`, with its offset in bytes; `None` where the kernel lacks it.
/// The last rows are what is no plain field: a size, and the offset of a bit, in bits.
#[must_use]
pub fn table(offsets: &Offsets) -> Vec<(String, Option<u32>)> {
    let mut offsets = *offsets;
    let known = |value: u32| (value != UNKNOWN).then_some(value);
    let mut rows: Vec<_> = FIELDS
        .iter()
        .map(|Field { of, path, slot }| (format!("{of}.{path}"), known(*slot(&mut offsets))))
        .collect();
    for (name, slot) in OTHERS {
        rows.push((name.to_owned(), known(*slot(&mut offsets))));
    }
    rows
}

/// The offsets that [`table`] shows; rows of other names are left out.
#[must_use]
pub fn from_table(rows: &[(String, Option<u32>)]) -> Offsets {
    let mut offsets = Offsets::NONE;
    let value = |name: &str| rows.iter().find(|row| row.0 == name).and_then(|row| row.1);
    for Field { of, path, slot } in &FIELDS {
        *slot(&mut offsets) = value(&format!("{of}.{path}")).unwrap_or(UNKNOWN);
    }
    for (name, slot) in OTHERS {
        *slot(&mut offsets) = value(name).unwrap_or(UNKNOWN);
    }
    offsets
}

/// Fields that this kernel lacks, as `type.path`.
#[must_use]
pub fn missing(offsets: &Offsets) -> Vec<String> {
    let rows = table(offsets).into_iter().filter(|row| row.1.is_none());
    rows.map(|row| row.0).collect()
}

/// Programs that a kernel may refuse, and whether it took them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// It can be seen how applications read.
    pub reads: bool,
    /// It can be seen who reads until there is nothing more.
    pub ends: bool,
    /// A first FIONREAD or splice can be seen.
    pub guards: bool,
}

impl Hooks {
    /// A kernel that takes them all.
    pub const ALL: Self = Self {
        reads: true,
        ends: true,
        guards: true,
    };
}

/// Which rules work with less on this kernel, one line each; empty where all work in full.
#[must_use]
pub fn limits(offsets: &Offsets, hooks: Hooks) -> Vec<&'static str> {
    let rows = [
        (
            offsets.sees_syns(),
            "no connection is accelerated: a SYN cannot be matched to its connection",
        ),
        (
            offsets.sees_order(),
            "a direction that began on TCP stays there: the ends' progress cannot be seen",
        ),
        (
            offsets.sees_backlog() || offsets.counts_backlog(),
            "each direction is redirected up to a total only: the reader's backlog cannot be seen",
        ),
        (
            offsets.sees_pressure(),
            "a send may fail where the node's TCP memory is short: the shortage cannot be seen",
        ),
        (
            offsets.sees_pod_memory(),
            "a send may fail where the reader's pod is at its memory limit: that cannot be seen",
        ),
        (
            offsets.sees_files(),
            "applications stay on TCP, only Envoy to Envoy is accelerated: O_NONBLOCK cannot be seen",
        ),
        (
            offsets.sees_reads() && hooks.reads,
            "applications stay on TCP in scope auto: how they read cannot be seen",
        ),
        (
            offsets.sees_waits(),
            "applications that do not read until EAGAIN stay on TCP in scope auto: how they wait cannot be seen",
        ),
        (
            hooks.ends,
            "edge-triggered applications stay on TCP in scope auto: who reads until EAGAIN cannot be seen",
        ),
        (
            offsets.sees_options(),
            "applications that use options or flags that only TCP serves are not told apart",
        ),
        (
            hooks.guards,
            "a first FIONREAD or splice on a joined connection is not seen: the kernel allows no fentry programs",
        ),
    ];
    rows.into_iter()
        .filter_map(|(works, limit)| (!works).then_some(limit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{FIELDS, Hooks, from_table, limits, missing, offsets, table};
    use sockway_common::config::{OFFSETS, Offsets};
    use std::path::Path;

    const NONE: Hooks = Hooks {
        reads: false,
        ends: false,
        guards: false,
    };

    #[test]
    fn every_offset_has_its_own_field() {
        let mut all = Offsets::NONE;
        for (i, field) in FIELDS.iter().enumerate() {
            *(field.slot)(&mut all) = u32::try_from(i).unwrap();
        }
        for (_, slot) in super::OTHERS {
            *slot(&mut all) = 168;
        }
        assert_eq!(missing(&all), Vec::<String>::new());
        assert_eq!(missing(&Offsets::NONE).len(), OFFSETS);
        let mut rows = table(&all);
        assert_eq!(from_table(&rows), all);
        rows.remove(3);
        assert_eq!(missing(&from_table(&rows)), ["sock.sk_user_data"]);
    }

    #[test]
    fn a_kernel_without_btf_is_no_error() {
        let none = offsets(Some(Path::new("/proc/none"))).unwrap();
        assert_eq!(none, Offsets::NONE);
        assert_eq!(limits(&none, NONE).len(), 11);
    }

    #[test]
    fn this_kernels_btf_names_every_rule() {
        if !Path::new(super::BTF).exists() {
            assert!(std::env::var_os("CI").is_none(), "no BTF on this kernel");
            println!("not run: this kernel has no BTF at {}", super::BTF);
            return;
        }
        let found = offsets(None).unwrap();
        assert!(found.sees_syns() && found.sees_order() && found.sees_files());
        assert!(
            limits(&found, Hooks::ALL).is_empty(),
            "{:?}",
            missing(&found)
        );
    }

    #[test]
    fn a_forward_declaration_hides_no_structure() {
        // include/uapi/linux/btf.h: INT is kind 1, STRUCT 4, FWD 7; offsets of members in bits.
        let names = b"\0u64\0pt_regs\0orig_ax\0cs\0";
        let [int, structure, forward] = [1 << 24, 4 << 24 | 2, 7 << 24];
        let types: [u32; 16] = [
            1, int, 8, 64, // u64
            5, structure, 16, 13, 1, 0, 21, 1, 64, // pt_regs { orig_ax, cs }
            5, forward, 0,
        ];
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let [types_size, names_size] =
            [types.len(), names.len()].map(|size| u32::try_from(size).unwrap().to_ne_bytes());
        let mut btf = 0xeb9f_u16.to_ne_bytes().to_vec();
        btf.extend([1, 0]);
        btf.extend(24_u32.to_ne_bytes());
        btf.extend(0_u32.to_ne_bytes());
        btf.extend(types_size);
        btf.extend(types_size);
        btf.extend(names_size);
        btf.extend(&types);
        btf.extend(names);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), btf).unwrap();
        let found = offsets(Some(file.path())).unwrap();
        if cfg!(target_arch = "x86_64") {
            assert_eq!((found.regs_call, found.regs_mode), (0, 8));
        }
        assert_eq!(found.regs_size, 16);
    }

    #[test]
    fn a_broken_btf_is_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"not BTF").unwrap();
        let text = offsets(Some(file.path())).unwrap_err().to_string();
        assert!(text.contains("BTF"), "{text}");
    }
}

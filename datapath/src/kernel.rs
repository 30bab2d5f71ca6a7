//! What this kernel offers: field offsets from its BTF, and what that allows.

use std::fs;
use std::path::{Path, PathBuf};

use btfparse::{Offset, Readable, TypeInformation, TypeVariant};
use sockway_common::cast::{FUNCTION, TYPES};
use sockway_common::config::{Arch, Config};
use sockway_common::offsets::{Offsets, UNKNOWN};

use crate::{Error, cast};
use fields::{FIELDS, GENERATIONS};

mod fields;

pub(crate) use fields::{Field, fields};
pub use fields::{from_table, missing, table};

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

/// What programs are told of the kernel that these offsets are of; the rest as it is by default.
#[must_use]
pub fn config(offsets: Offsets) -> Config {
    Config {
        offsets,
        typed: cast::level(&offsets),
        arch: ARCH,
        ..Config::UNSET
    }
}

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
    for (slot, name) in offsets.cast_types.iter_mut().zip(TYPES) {
        *slot = structure(&types, name).unwrap_or(UNKNOWN);
    }
    offsets.cast_function = function(&types, FUNCTION).unwrap_or(UNKNOWN);
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
    named(types, name, |kind| matches!(kind, TypeVariant::Struct(_)))
}

/// The id of a function.
fn function(types: &TypeInformation, name: &str) -> Option<u32> {
    named(types, name, |kind| matches!(kind, TypeVariant::Func(_)))
}

fn named(types: &TypeInformation, name: &str, kind: fn(&TypeVariant) -> bool) -> Option<u32> {
    let of_kind = |id: &u32| types.get().get(id).is_some_and(kind);
    types.id_of(name).filter(of_kind).or_else(|| {
        let mut ids = types.get().keys().copied().filter(of_kind);
        ids.find(|&id| types.name_of(id).as_deref() == Some(name))
    })
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
    use super::fields::{FIELDS, OTHERS};
    use super::{Hooks, from_table, limits, missing, offsets, table};
    use sockway_common::offsets::{OFFSETS, Offsets};
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
        for (_, slot) in OTHERS {
            *slot(&mut all) = 168;
        }
        all.cast_types.fill(168);
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

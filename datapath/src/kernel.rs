//! What this kernel offers: field offsets from its BTF, and what that allows.

use std::fs;
use std::path::{Path, PathBuf};

use sockway_common::cast::{FUNCTION, TYPES};
use sockway_common::config::Config;
use sockway_common::offsets::{Offsets, UNKNOWN};
use sockway_common::policy::fionread;

use crate::{Error, cast};
use btf::{FUNC, Place, STRUCT, Types};
use fields::{FIELDS, Field, GENERATIONS};

mod btf;
mod fields;
pub(crate) mod functions;

pub use crate::arch::ARCH;
pub use btf::Malformed;
pub use fields::{from_table, missing, table};
pub use functions::Functions;

/// Where a kernel with `CONFIG_DEBUG_INFO_BTF` offers its types.
pub const BTF: &str = "/sys/kernel/btf/vmlinux";

/// What is used of a kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where its fields are.
    pub offsets: Offsets,
    /// What programs are attached to.
    pub functions: Functions,
}

impl Found {
    /// Nothing is known, as on a kernel without BTF.
    pub const NONE: Self = Self {
        offsets: Offsets::NONE,
        functions: Functions::NONE,
    };
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

/// Reads this kernel's BTF.
///
/// `btf` names another BTF file than [`BTF`], for tests.
///
/// # Errors
///
/// [`Error::Btf`] where the file is there but cannot be read or parsed. A
/// kernel without BTF is no error: nothing is known then.
pub fn read(btf: Option<&Path>) -> Result<Found, Error> {
    let path = btf.map_or_else(|| PathBuf::from(BTF), Path::to_owned);
    let parsed = match fs::read(&path) {
        Ok(bytes) => parse(&bytes).map_err(Into::into),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Found::NONE),
        Err(e) => Err(e.into()),
    };
    parsed.map_err(|source| Error::Btf { path, source })
}

/// What is used of a BTF, in this machine's byte order; what it lacks is [`UNKNOWN`].
///
/// # Errors
///
/// [`Malformed`].
pub fn parse(btf: &[u8]) -> Result<Found, Malformed> {
    let types = Types::new(btf)?;
    let mut offsets = Offsets::NONE;
    let place = |of, path| types.find(types.id(STRUCT, of)?, path);
    for Field { of, path, slot } in &FIELDS {
        *slot(&mut offsets) = match place(of, path) {
            Some(Place { bits, width: 0, .. }) if bits % 8 == 0 => bits / 8,
            _ => UNKNOWN,
        };
    }
    offsets.tcp_recvmsg_inq_bit = match place("tcp_sock", "recvmsg_inq") {
        Some(Place { bits, width: 1, .. }) => bits,
        _ => UNKNOWN,
    };
    let size = |id: Option<u32>| id.and_then(|id| types.size(id)).unwrap_or(UNKNOWN);
    offsets.regs_size = size(types.id(STRUCT, "pt_regs"));
    let generations = place("mem_cgroup_per_node", GENERATIONS);
    offsets.memcg_generations_size = size(generations.map(|place| place.id));
    for (slot, name) in offsets.cast_types.iter_mut().zip(TYPES) {
        *slot = types.id(STRUCT, name).unwrap_or(UNKNOWN);
    }
    offsets.cast_function = types.id(FUNC, FUNCTION).unwrap_or(UNKNOWN);
    let functions = Functions::find(&types);
    Ok(Found { offsets, functions })
}

/// Programs that a kernel may refuse, and whether it took them.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each hook is there or not, whatever the others are"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// It can be seen how applications read.
    pub reads: bool,
    /// It can be seen who reads until there is nothing more.
    pub ends: bool,
    /// A first FIONREAD or splice can be seen.
    pub guards: bool,
    /// It can be seen that a socket has an error to tell.
    pub errors: bool,
}

impl Hooks {
    /// A kernel that takes them all.
    pub const ALL: Self = Self {
        reads: true,
        ends: true,
        guards: true,
        errors: true,
    };
}

/// Which rules work with less on this kernel, one line each; empty where all work in full.
#[must_use]
pub fn limits(config: &Config, hooks: Hooks) -> Vec<&'static str> {
    let offsets = &config.offsets;
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
            "everything stays on TCP in scope auto: O_NONBLOCK cannot be seen",
        ),
        (
            offsets.sees_reads() && hooks.reads,
            "everything stays on TCP in scope auto: how programs read cannot be seen",
        ),
        (
            offsets.sees_waits(),
            "programs that do not read until EAGAIN are sent to by TCP in scope auto: how they wait cannot be seen",
        ),
        (
            hooks.ends,
            "edge-triggered programs, Envoy among them, are sent to by TCP in scope auto: who reads until EAGAIN cannot be seen",
        ),
        (
            offsets.sees_options(),
            "programs that use options or flags that only TCP serves are not told apart",
        ),
        (
            hooks.guards,
            "a first FIONREAD or splice on a joined connection is not seen: the kernel allows no fentry programs",
        ),
        (
            hooks.errors,
            "with IP_RECVERR a soft error (ICMP) is not told while a connection takes part: the kernel has no tracepoint for it",
        ),
        (
            config.fionread == fionread::RIGHT,
            "programs are watched on TCP first, and readers that stop short (nginx, Netty, tokio) stay there: this kernel answers FIONREAD wrongly for sockets in a sockhash",
        ),
        (
            config.fionread != fionread::WRONG_UNSEEN,
            "programs that are not proven to read to the end stay on TCP: FIONREAD is answered wrongly, and who asks cannot be seen (no fentry programs)",
        ),
        (
            offsets.sees_programs(),
            "programs are not told apart by their executables and listening sockets",
        ),
        (
            offsets.sees_rest(),
            "nothing comes in late and nothing leaves: a socket's rest cannot be seen",
        ),
    ];
    rows.into_iter()
        .filter_map(|(works, limit)| (!works).then_some(limit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::fields::{FIELDS, OTHERS};
    use super::{Config, Hooks, config, fionread, from_table, limits, missing, read, table};
    use sockway_common::offsets::{OFFSETS, Offsets};
    use std::path::Path;

    const NONE: Hooks = Hooks {
        reads: false,
        ends: false,
        guards: false,
        errors: false,
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
        let none = read(Some(Path::new("/proc/none"))).unwrap().offsets;
        assert_eq!(none, Offsets::NONE);
        assert_eq!(limits(&config(none), NONE).len(), 16);
    }

    #[test]
    fn this_kernels_btf_names_every_rule() {
        if !Path::new(super::BTF).exists() {
            assert!(std::env::var_os("CI").is_none(), "no BTF on this kernel");
            println!("not run: this kernel has no BTF at {}", super::BTF);
            return;
        }
        let found = read(None).unwrap().offsets;
        assert!(found.sees_syns() && found.sees_order() && found.sees_files());
        let config = Config {
            fionread: fionread::RIGHT,
            ..config(found)
        };
        assert!(
            limits(&config, Hooks::ALL).is_empty(),
            "{:?}",
            missing(&found)
        );
    }
}

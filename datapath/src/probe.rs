//! What else a node's kernel says of itself: helpers, and other programs on our hooks.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use aya::programs::{ProgramInfo, ProgramType, loaded_programs};
use aya::sys::{BpfHelper, is_helper_supported};
use sockway_common::layout::program;

use crate::{Error, Pins, sys};

/// A helper that a program calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// The program's kind.
    pub kind: &'static str,
    /// The helper's name.
    pub name: &'static str,
    /// Whether the kernel offers it to that kind; `None` where it cannot be asked.
    pub there: Option<bool>,
}

/// Every helper that the programs cannot do without.
#[must_use]
pub fn helpers() -> Vec<Helper> {
    use ProgramType::{RawTracePoint, SkMsg, SockOps};
    [
        (
            SockOps,
            "get_socket_cookie",
            BpfHelper::BPF_FUNC_get_socket_cookie,
        ),
        (
            SockOps,
            "sk_storage_get",
            BpfHelper::BPF_FUNC_sk_storage_get,
        ),
        (
            SockOps,
            "sock_hash_update",
            BpfHelper::BPF_FUNC_sock_hash_update,
        ),
        (
            SockOps,
            "sock_ops_cb_flags_set",
            BpfHelper::BPF_FUNC_sock_ops_cb_flags_set,
        ),
        (
            SockOps,
            "probe_read_kernel",
            BpfHelper::BPF_FUNC_probe_read_kernel,
        ),
        (
            SkMsg,
            "msg_redirect_hash",
            BpfHelper::BPF_FUNC_msg_redirect_hash,
        ),
        (SkMsg, "sk_storage_get", BpfHelper::BPF_FUNC_sk_storage_get),
        (
            SkMsg,
            "probe_read_kernel",
            BpfHelper::BPF_FUNC_probe_read_kernel,
        ),
        (
            RawTracePoint,
            "get_current_task",
            BpfHelper::BPF_FUNC_get_current_task,
        ),
        (
            RawTracePoint,
            "probe_read_kernel",
            BpfHelper::BPF_FUNC_probe_read_kernel,
        ),
    ]
    .into_iter()
    .map(|(kind, name, helper)| Helper {
        kind: match kind {
            SockOps => "sock_ops",
            SkMsg => "sk_msg",
            _ => "raw_tracepoint",
        },
        name,
        there: is_helper_supported(kind, helper).ok(),
    })
    .collect()
}

/// Whether programs get pointers whose types the verifier knows ([`sockway_common::config::typed::OWN`]);
/// needs the kernel's BTF.
pub(crate) fn has_typed_pointers() -> bool {
    use ProgramType::{SkMsg, SockOps};
    [
        (SockOps, BpfHelper::BPF_FUNC_skc_to_tcp_sock),
        (SkMsg, BpfHelper::BPF_FUNC_skc_to_tcp_sock),
        (SkMsg, BpfHelper::BPF_FUNC_get_current_task_btf),
    ]
    .into_iter()
    .all(|(kind, helper)| has(kind, helper))
}

/// Whether programs of a kind may call a helper; false where the kernel cannot be asked.
pub(crate) fn has(kind: ProgramType, helper: BpfHelper) -> bool {
    is_helper_supported(kind, helper).unwrap_or(false)
}

/// A program of somebody else where ours are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// The hook: `sock_ops` or `sk_msg`.
    pub hook: &'static str,
    /// The program's id.
    pub id: u32,
    /// Its name as the kernel keeps it, cut to 15 bytes; empty where it has none.
    pub name: String,
    /// True where it keeps ours from being attached to the cgroup.
    pub exclusive: bool,
}

/// Programs of others: `sock_ops` programs that run for the cgroup's sockets,
/// and every `sk_msg` program that is loaded.
///
/// # Errors
///
/// [`Error::Io`] where the cgroup or the programs cannot be listed.
pub fn others(cgroup: &Path) -> Result<Vec<Other>, Error> {
    let mut loaded: Vec<ProgramInfo> = Vec::new();
    for info in loaded_programs() {
        // One that was unloaded meanwhile is none.
        loaded.extend(info.ok());
    }
    let name = |id: u32| {
        let info = loaded.iter().find(|info| info.id() == id);
        info.and_then(ProgramInfo::name_as_str).unwrap_or_default()
    };
    let mut found = Vec::new();
    for directory in cgroup.ancestors() {
        let Ok(file) = File::open(directory) else {
            break;
        };
        // Above the hierarchy's root the kernel knows no cgroup.
        let Ok(attached) = sys::sock_ops_of(file.as_fd()) else {
            break;
        };
        let exclusive = attached.admits_no_other(directory == cgroup);
        for id in attached.ids {
            found.push(Other {
                hook: "sock_ops",
                id,
                name: name(id).to_owned(),
                exclusive,
            });
        }
    }
    for info in &loaded {
        if info.program_type() == ProgramType::SkMsg.into() {
            found.push(Other {
                hook: "sk_msg",
                id: info.id(),
                name: name(info.id()).to_owned(),
                exclusive: false,
            });
        }
    }
    // The kernel cuts names to 15 bytes.
    let ours = |name: &str| {
        !name.is_empty()
            && [program::ESTABLISH, program::REDIRECT]
                .iter()
                .any(|own| own.starts_with(name) && name.len() == own.len().min(15))
    };
    found.retain(|other| !ours(&other.name));
    Ok(found)
}

/// Programs of another Sockway on a cgroup: of our names, and pinned under another root.
///
/// # Errors
///
/// [`Error::Io`] where the programs cannot be listed.
pub fn another_sockway(pins: &Pins, cgroup: &Path) -> Result<Vec<u32>, Error> {
    let directory = File::open(cgroup).map_err(|e| Error::io("open cgroup", cgroup, e))?;
    let attached = sys::sock_ops_of(directory.as_fd())
        .map_err(|e| Error::io("list the programs of", cgroup, e))?;
    let layouts = pins.other_layouts().unwrap_or_default();
    let all = layouts.iter().map(|name| pins.of_layout(name));
    let own: Vec<u32> = all
        .chain([pins.clone()])
        .filter_map(|pins| sys::object_at(&pins.link(program::ESTABLISH)).ok())
        .filter_map(|link| sys::link_info(link.as_fd()).ok())
        .map(|info| info.program_id)
        .collect();
    let mut found = Vec::new();
    for info in loaded_programs().filter_map(Result::ok) {
        let name = info.name_as_str().unwrap_or_default();
        let ours =
            name.len() == program::ESTABLISH.len().min(15) && program::ESTABLISH.starts_with(name);
        if ours && attached.ids.contains(&info.id()) && !own.contains(&info.id()) {
            found.push(info.id());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::helpers;

    #[test]
    fn privileged_helpers_of_this_kernel() {
        if std::env::var("SOCKWAY_PRIVILEGED").as_deref() != Ok("1") {
            eprintln!("not run: needs root; set SOCKWAY_PRIVILEGED=1");
            return;
        }
        for helper in helpers() {
            assert_eq!(helper.there, Some(true), "{helper:?}");
        }
    }
}

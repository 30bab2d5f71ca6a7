//! The yardstick that knows sockets by addresses and ports: ebpf/src/bench/tuple.rs.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::SockHash;
use aya::programs::{CgroupAttachMode, SkMsg, SockOps};
use aya::{Ebpf, Pod};

/// The map's name.
const MAP: &str = "tuples";

/// One end of a connection, as in the program.
#[repr(C)]
#[derive(Clone, Copy)]
struct Key {
    ip: u32,
    port: u32,
    end: u32,
}

// SAFETY: three integers, no padding, any bit pattern is valid.
unsafe impl Pod for Key {}

/// The loaded programs; detached and gone on drop.
pub(crate) struct Tuple {
    _programs: Ebpf,
}

impl Tuple {
    /// Loads the object and attaches it to a cgroup.
    pub(crate) fn attach(object: &Path, cgroup: &Path) -> Result<Self> {
        let mut programs =
            Ebpf::load_file(object).with_context(|| format!("load {}", object.display()))?;
        let map = programs.map(MAP).context("no map in the object")?;
        let map = SockHash::<_, Key>::try_from(map)?.fd().try_clone()?;
        let redirect: &mut SkMsg = programs
            .program_mut("tuple_redirect")
            .context("no sk_msg program in the object")?
            .try_into()?;
        redirect.load()?;
        redirect.attach(&map)?;
        let establish: &mut SockOps = programs
            .program_mut("tuple_establish")
            .context("no sock_ops program in the object")?
            .try_into()?;
        establish.load()?;
        let cgroup = File::open(cgroup).with_context(|| format!("open {}", cgroup.display()))?;
        establish.attach(cgroup, CgroupAttachMode::Single)?;
        Ok(Self {
            _programs: programs,
        })
    }
}

//! What can be looked at each second without reading a file: whether anything changed that no event tells
//! of. A directory that is mounted over or replaced tells nothing, and a node may have no watch left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{AccessFlags, access};
use sockway_datapath::Datapath;

use crate::cni::confdir;
use crate::node::Wanted;

/// What tells a file or directory from one that was written since, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Kind and permissions.
    pub mode: u32,
    links: u64,
    changed: (i64, i64),
    /// Whether it may be run: a mount may forbid what the mode allows.
    pub runs: bool,
}

impl Stamp {
    /// Of what a path leads to; `None` where there is nothing.
    pub fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            mode: meta.mode(),
            links: meta.nlink(),
            changed: (meta.ctime(), meta.ctime_nsec()),
            runs: access(path, AccessFlags::X_OK).is_ok(),
        })
    }
}

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    stamps: Vec<Option<Stamp>>,
    files: Vec<String>,
    attached: Option<u64>,
}

impl Pulse {
    /// Takes it.
    pub fn take(wanted: &Wanted) -> Self {
        let cni = &wanted.cni;
        let plugin = cni.plugin_path();
        let files = confdir::loadable(&cni.cni_conf_dir).unwrap_or_default();
        let paths = files.iter().map(|name| cni.cni_conf_dir.join(name));
        let fixed = [&cni.cni_conf_dir, &cni.cni_bin_dir, &plugin];
        let fixed = fixed.into_iter().map(|path| Stamp::of(path));
        Self {
            stamps: fixed.chain(paths.map(|path| Stamp::of(&path))).collect(),
            files,
            attached: attached(wanted),
        }
    }
}

/// The cgroup that the programs are attached to: its directory's inode number.
pub fn attached(wanted: &Wanted) -> Option<u64> {
    let status = Datapath::status(&wanted.pins).ok()?;
    status.cgroup_id.filter(|_| status.attached)
}

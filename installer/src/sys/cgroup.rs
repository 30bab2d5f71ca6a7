//! The cgroup that the programs are attached to.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use sockway_datapath::host;

use crate::options::{CgroupArgs, RunDirArgs};

/// Where to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A directory that is there.
    Present(PathBuf),
    /// The host has no cgroup2 hierarchy mounted: mount it here.
    Mount(PathBuf),
}

impl Choice {
    /// The directory, which with [`Choice::Mount`] has to be mounted first.
    pub fn path(&self) -> &Path {
        match self {
            Self::Present(path) | Self::Mount(path) => path,
        }
    }
}

/// Finds out where to attach; changes nothing.
///
/// # Errors
///
/// Where the directory given is not in a cgroup2 hierarchy, or the one found
/// is only a part of it, as in a container with a cgroup namespace of its own.
pub fn choose(cgroup: &CgroupArgs, run_dir: &RunDirArgs, force: bool) -> Result<Choice> {
    if let Some(given) = cgroup.given() {
        ensure!(
            host::is_cgroup2(given),
            "{} is not a cgroup2 directory: name one with --cgroup, or leave it to auto",
            given.display()
        );
        return Ok(Choice::Present(given.to_owned()));
    }
    let Some(found) = host::find_cgroup2()? else {
        return Ok(Choice::Mount(run_dir.private_cgroup()));
    };
    if !host::is_cgroup2_root(&found) && !force {
        bail!(
            "{} is only a part of the cgroup2 hierarchy (a container's own?): sockets of other pods would \
             not be seen; mount the host's hierarchy into the container and name it with --cgroup (--force attaches here nevertheless)",
            found.display()
        );
    }
    Ok(Choice::Present(found))
}

#[cfg(test)]
mod tests {
    use super::choose;
    use crate::options::{CgroupArgs, RunDirArgs};

    #[test]
    fn a_directory_elsewhere_is_refused() {
        let cgroup = CgroupArgs {
            cgroup: "/proc".into(),
        };
        let run_dir = RunDirArgs {
            run_dir: "/run/sockway".into(),
        };
        let error = choose(&cgroup, &run_dir, false).unwrap_err().to_string();
        assert!(
            error.contains("/proc") && error.contains("--cgroup"),
            "{error}"
        );
    }
}

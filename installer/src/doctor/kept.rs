//! The last proof that held, kept until the next boot: the same kernel, binary and place behave the same.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sockway_datapath::host;

use super::proof::Proof;
use crate::build::COMMIT;

const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// What a proof is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Of {
    boot: String,
    kernel: String,
    commit: String,
    /// Size, inode number and time of change.
    binary: (u64, u64, i64),
    cgroup: PathBuf,
    backlog_limit: u32,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    of: Of,
    proof: Proof,
}

impl Of {
    /// This run's; `None` where this run cannot be told from another.
    pub fn this(cgroup: &Path, backlog_limit: u32) -> Option<Self> {
        let meta = fs::metadata("/proc/self/exe").ok()?;
        Some(Self {
            boot: fs::read_to_string(BOOT).ok()?.trim().to_owned(),
            kernel: host::kernel_release(),
            commit: COMMIT.to_owned(),
            binary: (meta.size(), meta.ino(), meta.ctime()),
            cgroup: cgroup.to_owned(),
            backlog_limit,
        })
    }
}

fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("proof.json")
}

/// The proof that is kept of the same.
pub fn read(run_dir: &Path, of: &Of) -> Option<Proof> {
    let text = fs::read_to_string(path(run_dir)).ok()?;
    let kept: Kept = serde_json::from_str(&text).ok()?;
    (kept.of == *of && kept.proof.failure().is_none()).then_some(kept.proof)
}

/// Keeps a proof that held. What cannot be kept is proved again.
pub fn write(run_dir: &Path, of: Of, proof: &Proof) {
    let kept = Kept {
        of,
        proof: proof.clone(),
    };
    let (path, new) = (path(run_dir), run_dir.join(".proof.json"));
    let done = serde_json::to_vec(&kept)
        .map_err(std::io::Error::other)
        .and_then(|text| {
            fs::create_dir_all(run_dir)?;
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(run_dir)?.sync_all()
        });
    if let Err(e) = done {
        log::debug!("the proof is not kept: {e}");
    }
}

/// Forgets it.
pub fn forget(run_dir: &Path) {
    for name in ["proof.json", ".proof.json"] {
        if let Err(e) = fs::remove_file(run_dir.join(name)) {
            log::debug!("{name}: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Of, forget, read, write};
    use crate::doctor::proof::Proof;
    use crate::doctor::{Finding, Verdict};
    use std::path::Path;

    #[test]
    fn only_of_the_same_and_only_what_held() {
        let dir = tempfile::tempdir().unwrap();
        let of = Of::this(Path::new("/sys/fs/cgroup"), 1).unwrap();
        assert!(read(dir.path(), &of).is_none());
        let mut proof = Proof::default();
        write(dir.path(), of.clone(), &proof);
        assert_eq!(read(dir.path(), &of), Some(proof.clone()));
        let other = Of::this(Path::new("/sys/fs/cgroup"), 2).unwrap();
        assert!(read(dir.path(), &other).is_none());
        proof.steps.push(Finding::new("order", Verdict::Failed, ""));
        write(dir.path(), of.clone(), &proof);
        assert!(read(dir.path(), &of).is_none());
        forget(dir.path());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

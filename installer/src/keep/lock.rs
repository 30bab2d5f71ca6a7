//! One keeper for each node, and `uninstall` knows of it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("run.lock")
}

/// Takes the keeper's place; held while the file is open, given up by the kernel when the process ends.
///
/// # Errors
///
/// Where another keeper runs.
pub fn take(run_dir: &Path) -> Result<File> {
    fs::create_dir_all(run_dir).with_context(|| format!("cannot create {}", run_dir.display()))?;
    let path = path(run_dir);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "another `sockway run` keeps this node ({} is locked)",
                path.display()
            )
        }
        Err(TryLockError::Error(e)) => {
            Err(e).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Whether a keeper runs.
///
/// # Errors
///
/// Where the lock cannot be looked at.
pub fn is_taken(run_dir: &Path) -> Result<bool> {
    let path = path(run_dir);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e).with_context(|| format!("cannot open {}", path.display())),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => {
            Err(e).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Removes the lock's file, with nobody holding it.
///
/// # Errors
///
/// With the path; one that is gone is no error.
pub fn clear(run_dir: &Path) -> Result<()> {
    match fs::remove_file(path(run_dir)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path(run_dir).display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{clear, is_taken, take};

    #[test]
    fn one_keeper() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("run");
        assert!(!is_taken(&run_dir).unwrap());
        let held = take(&run_dir).unwrap();
        assert!(is_taken(&run_dir).unwrap());
        assert!(take(&run_dir).unwrap_err().to_string().contains("another"));
        drop(held);
        assert!(!is_taken(&run_dir).unwrap());
        clear(&run_dir).unwrap();
        clear(&run_dir).unwrap();
    }
}

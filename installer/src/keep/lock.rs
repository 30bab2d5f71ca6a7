//! One process at a time changes a node, and says which one it is.
//!
//! `run` holds the lock for as long as it keeps the node, `install` and `uninstall` until they are done.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const PAUSE: Duration = Duration::from_millis(20);
/// How long the lock of a process that cannot be seen may be left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

/// The lock, held until dropped; the kernel gives it up when the process ends, however it ends.
#[derive(Debug)]
pub struct Held {
    _file: File,
    path: PathBuf,
}

/// Somebody else has it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another sockway process changes this node ({holder}; {path} is locked): wait for it, or stop it first"
)]
pub struct Taken {
    /// `run`, `install` or `uninstall`, with its process id.
    pub holder: String,
    path: String,
}

impl Taken {
    /// Whether it is `sockway run`, which will not let go by itself.
    pub fn is_keeper(&self) -> bool {
        self.holder.starts_with("run ")
    }

    /// Whether the process that took it is there, or cannot be seen from here: one that was killed may have left the
    /// lock, for a moment, to a process that it was starting.
    fn is_seen(&self) -> bool {
        let pid = self.holder.strip_prefix("run (pid ");
        pid.is_none_or(|rest| Path::new("/proc").join(rest.trim_end_matches(')')).exists())
    }
}

/// Takes the lock as `verb`. Waits up to `wait` for one that lets go by itself.
///
/// # Errors
///
/// [`Taken`], or where the file cannot be used.
pub fn take(run_dir: &Path, verb: &str, wait: Duration) -> Result<Held> {
    let path = run_dir.join("run.lock");
    let start = Instant::now();
    let deadline = start + wait;
    loop {
        // The one before may remove the directory between any two of these calls. Where it goes
        // while it is made, `create_dir_all` says that it exists.
        let removed = |e: &io::Error, kind| e.kind() == kind && Instant::now() < deadline;
        match fs::create_dir_all(run_dir) {
            Err(e) if removed(&e, ErrorKind::AlreadyExists) && !run_dir.exists() => continue,
            made => made.with_context(|| format!("cannot create {}", run_dir.display()))?,
        }
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path);
        let mut file = match opened {
            Err(e) if removed(&e, ErrorKind::NotFound) => continue,
            opened => opened.with_context(|| format!("cannot open {}", path.display()))?,
        };
        match file.try_lock() {
            // The one before removed the file when it was done: this one locks out nobody.
            Ok(()) if !in_place(&file, &path) => {}
            Ok(()) => {
                // For a message only; who cannot be named is locked out all the same.
                let said = file
                    .set_len(0)
                    .and_then(|()| file.seek(SeekFrom::Start(0)))
                    .and_then(|_| write!(file, "{verb} (pid {})", std::process::id()));
                if let Err(e) = said {
                    log::debug!("{} does not say who holds it: {e}", path.display());
                }
                return Ok(Held { _file: file, path });
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Empty where it was locked a moment ago.
                let _ = file.read_to_string(&mut holder);
                let taken = Taken {
                    holder,
                    path: path.display().to_string(),
                };
                let stays = taken.is_keeper() && (taken.is_seen() || start.elapsed() > LEFT_BEHIND);
                if stays || Instant::now() >= deadline {
                    return Err(taken.into());
                }
                sleep(PAUSE);
            }
            Err(TryLockError::Error(e)) => {
                return Err(e).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

fn in_place(file: &File, path: &Path) -> bool {
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let there = fs::metadata(path).map(identity).ok();
    there.is_some() && there == file.metadata().map(identity).ok()
}

impl Held {
    /// Removes the lock's file, while it is held, and its directory where nothing else is in it: who
    /// comes next makes new ones.
    ///
    /// # Errors
    ///
    /// With the path; one that is gone is no error.
    pub fn clear(self) -> Result<()> {
        let removed = match fs::remove_file(&self.path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(e).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        };
        if let Some(directory) = self.path.parent()
            && let Err(e) = fs::remove_dir(directory)
        {
            log::debug!("{} stays: {e}", directory.display());
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::{Taken, take};
    use std::fs;
    use std::thread;
    use std::time::Duration;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn one_at_a_time_and_it_says_which() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("run");
        let held = take(&run_dir, "run", NOW).unwrap();
        let error = take(&run_dir, "uninstall", Duration::from_mins(1)).unwrap_err();
        let taken = error.downcast_ref::<Taken>().unwrap();
        assert!(taken.is_keeper(), "{taken}");
        assert!(taken.to_string().contains("run (pid "), "{taken}");
        drop(held);
        let held = take(&run_dir, "uninstall", NOW).unwrap();
        let error = take(&run_dir, "run", NOW).unwrap_err();
        assert!(error.to_string().contains("uninstall (pid"), "{error}");
        held.clear().unwrap();
        take(&run_dir, "install", NOW).unwrap();
    }

    /// A keeper that was killed while it started a process, which has the lock until it is another program.
    #[test]
    fn what_a_killed_keeper_left_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let held = take(dir.path(), "run", NOW).unwrap();
        fs::write(dir.path().join("run.lock"), "run (pid 4194305)").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(100));
                drop(held);
            });
            take(dir.path(), "run", Duration::from_mins(1)).unwrap();
        });
    }

    /// One that is removed and made anew by the next never lets two in.
    #[test]
    fn clearing_lets_nobody_in_beside_another() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let held = take(dir.path(), "install", Duration::from_mins(1)).unwrap();
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        thread::sleep(Duration::from_micros(200));
                        inside.fetch_sub(1, Ordering::SeqCst);
                        held.clear().unwrap();
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 1);
    }
}

//! The writers' lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use sockway_common::layout::PODS;

use crate::{Error, Pins, trust};

/// A lock is held for some tens of microseconds; who waits longer than this
/// waits for something stuck.
const WAIT: Duration = Duration::from_secs(1);
/// First pause between two tries; doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LAST_PAUSE: Duration = Duration::from_millis(5);

/// The open pin directory; an advisory lock on it (flock) orders writers.
#[derive(Debug)]
pub(super) struct PinLock {
    dir: File,
    path: PathBuf,
}

/// The lock, held until dropped.
#[derive(Debug)]
pub(super) struct Held<'a>(&'a File);

impl PinLock {
    /// Opens the pin directory, which must be one that [`trust`] believes.
    pub(super) fn open(pins: &Pins) -> Result<Self, Error> {
        let path = pins.dir();
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(&path)
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => pins.missing(PODS),
                io::ErrorKind::PermissionDenied => Error::Permission {
                    what: format!("open {}", path.display()),
                },
                _ => Error::io("open the pin directory", &path, source),
            })?;
        trust::require(pins)?;
        Ok(Self { dir, path })
    }

    /// Waits for the lock, at most [`WAIT`].
    pub(super) fn exclusive(&self) -> Result<Held<'_>, Error> {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.dir.try_lock() {
                Ok(()) => return Ok(Held(&self.dir)),
                Err(TryLockError::Error(source)) => {
                    return Err(Error::io("lock", &self.path, source));
                }
                Err(TryLockError::WouldBlock) if start.elapsed() >= WAIT => {
                    let waited_ms = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
                    return Err(Error::Busy {
                        path: self.path.clone(),
                        waited_ms,
                    });
                }
                Err(TryLockError::WouldBlock) => {
                    sleep(pause);
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            log::warn!("cannot unlock the pin directory: {error}");
        }
    }
}

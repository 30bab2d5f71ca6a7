//! One at a time: who brings ends in, and who takes the programs off.

use std::fs::{File, TryLockError};
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Error, Pins};

/// Longer than one turn takes.
const WAIT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(10);

/// A lock (flock) on the pins' root, held until dropped. Not that of the registry, for which
/// the plugin would have to wait.
#[derive(Debug)]
pub(crate) struct ProgramsLock {
    _root: Option<File>,
}

impl ProgramsLock {
    /// Waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] where somebody has it for too long, [`Error::Io`].
    pub(crate) fn take(pins: &Pins) -> Result<Self, Error> {
        let path = pins.root();
        let root = match File::open(path) {
            Ok(root) => root,
            // Nothing is pinned, so there is nothing to take turns at.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self { _root: None }),
            Err(e) => return Err(Error::io("open", path, e)),
        };
        let start = Instant::now();
        loop {
            match root.try_lock() {
                Ok(()) => return Ok(Self { _root: Some(root) }),
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", path, e)),
                Err(TryLockError::WouldBlock) if start.elapsed() >= WAIT => {
                    return Err(Error::Busy {
                        path: path.to_owned(),
                        waited_ms: u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX),
                    });
                }
                Err(TryLockError::WouldBlock) => sleep(PAUSE),
            }
        }
    }
}

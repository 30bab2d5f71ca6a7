//! Where everything is pinned.

use std::io;
use std::path::{Path, PathBuf};

use sockway_common::layout;

use crate::Error;

/// Default of the directory in bpffs under which each layout has its own directory.
pub const DEFAULT_ROOT: &str = "/sys/fs/bpf/sockway";

/// The pin directory of a layout under a root in bpffs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    root: PathBuf,
    layout: String,
}

impl Pins {
    /// Names the root, and this build's layout; nothing is looked at or made.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            layout: layout::PIN_DIR.to_owned(),
        }
    }

    /// The same root with a layout of [`Self::other_layouts`], for taking it off the node.
    #[must_use]
    pub fn of_layout(&self, name: &str) -> Self {
        Self {
            root: self.root.clone(),
            layout: name.to_owned(),
        }
    }

    /// The directory that holds one directory for each layout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of the layout.
    pub fn dir(&self) -> PathBuf {
        self.root.join(&self.layout)
    }

    /// Where a map of [`layout`] is pinned.
    pub fn map(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Where the link of a program of [`layout::program`] is pinned.
    pub fn link(&self, program: &str) -> PathBuf {
        self.dir().join(format!("link_{program}"))
    }

    /// Where a program of [`layout::program`] is pinned.
    pub fn program(&self, program: &str) -> PathBuf {
        self.dir().join(format!("prog_{program}"))
    }

    /// Directories of other layouts (`v2`, ...) under the root; empty where there is no root.
    pub fn other_layouts(&self) -> io::Result<Vec<String>> {
        let entries = match self.root.read_dir() {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_layout = name
                .strip_prefix('v')
                .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            if is_layout && name != self.layout {
                found.push(name);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Says why a map's pin is not there: not installed, another layout, or gone.
    pub(crate) fn missing(&self, name: &str) -> Error {
        let path = self.map(name);
        match self.other_layouts() {
            Ok(found) if !self.dir().exists() && !found.is_empty() => Error::OtherLayout {
                root: self.root.clone(),
                found: found.join(", "),
            },
            _ => Error::NotInstalled { path },
        }
    }
}

/// Removes a pin; one that is gone is no error.
#[cfg(feature = "loader")]
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("remove", path, e)),
    }
}

/// How often a directory is emptied that fills meanwhile.
#[cfg(feature = "loader")]
const TRIES: u32 = 50;

/// Removes a directory and the pins in it; one that is gone is no error.
///
/// A process that was killed may end the call that it was in, which may be one that pins.
#[cfg(feature = "loader")]
pub(crate) fn remove_all(dir: &Path) -> Result<(), Error> {
    let mut tries = 0;
    loop {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("read", dir, e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("read", dir, e))?;
            remove(&entry.path())?;
        }
        tries += 1;
        match std::fs::remove_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty && tries < TRIES => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", dir, e));
            }
            _ => return Ok(()),
        }
    }
}

#[cfg(all(test, feature = "loader"))]
mod tests {
    use std::fs;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::remove_all;

    /// What a process does that was killed and has not ended yet.
    #[test]
    fn a_directory_that_fills_meanwhile_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let pins = dir.path().join("v4");
        fs::create_dir(&pins).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let started = Instant::now();
                while started.elapsed() < Duration::from_millis(50) {
                    // Gone by then, or not.
                    let _ = fs::write(pins.join("late"), "");
                }
            });
            remove_all(&pins).unwrap();
        });
        assert!(!pins.exists());
        remove_all(&pins).unwrap();
    }
}

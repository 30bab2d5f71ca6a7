//! Whether a directory of pins can be believed: bpffs itself is open to all by default.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::{Error, Pins};

/// Mode bits that let others than the owner make entries.
const OTHERS_WRITE: u32 = 0o022;
/// With it they cannot replace entries that are not theirs (bpffs' own root is 1777).
const STICKY: u32 = 0o1000;

/// Checks the directories that the pins of a layout are found through.
///
/// # Errors
/// [`Error::Io`] where one is a symlink, is not root's, or can be written by
/// others: they could have pinned maps of their own there.
pub(crate) fn require(pins: &Pins) -> Result<(), Error> {
    let root = stat(pins.root())?;
    let harmless = root.mode() & STICKY != 0;
    judge(pins.root(), &root, harmless)?;
    let dir = pins.dir();
    judge(&dir, &stat(&dir)?, false)
}

fn stat(path: &Path) -> Result<Metadata, Error> {
    path.symlink_metadata()
        .map_err(|source| Error::io("stat", path, source))
}

fn judge(path: &Path, meta: &Metadata, others_may_write: bool) -> Result<(), Error> {
    let why = if !meta.is_dir() {
        "no directory but a link or a file: remove it".to_owned()
    } else if meta.uid() != 0 || (meta.mode() & OTHERS_WRITE != 0 && !others_may_write) {
        format!(
            "owned by user {}, mode {:o}: others could pin maps there (chown root, chmod 700)",
            meta.uid(),
            meta.mode() & 0o7777
        )
    } else {
        return Ok(());
    };
    let source = io::Error::new(io::ErrorKind::PermissionDenied, why);
    Err(Error::io("trust the pin directory", path, source))
}

//! Pins of a layout that this version does not know: only what is the same in every version.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;

use log::debug;

use crate::lock::ProgramsLock;
use crate::{Error, Pins, attach, pins, sys};

/// Takes off whatever programs a layout attached, whatever they are called. Once this returns none of
/// them runs any more: no connection is added to those that its programs accelerate, which go on.
///
/// # Errors
///
/// [`Error::Io`]. What is not attached any more is no error.
pub fn detach(pins: &Pins) -> Result<(), Error> {
    let _held = ProgramsLock::take(pins)?;
    let dir = pins.dir();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("read", &dir, e)),
    };
    let mut any = false;
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("read", &dir, e))?;
        if !entry.file_name().to_string_lossy().starts_with("link_") {
            continue;
        }
        any = true;
        if let Ok(link) = sys::object_at(&entry.path())
            && let Err(e) = sys::link_detach(link.as_fd())
        {
            // Tracepoints and functions: those end with the last reference to the link.
            debug!("{} is not detached by force: {e}", entry.path().display());
        }
        pins::remove(&entry.path())?;
    }
    if any {
        // A program that runs now may be about to put a socket into the maps that are to go.
        attach::wait_for_running();
    }
    Ok(())
}

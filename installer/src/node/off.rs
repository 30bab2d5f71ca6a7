//! That a node is switched off: a file, so that it holds over restarts, reboots and upgrades.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sockway_datapath::{Error, Pins, switch};

/// One file for each installation, named after where it pins.
fn path(state_dir: &Path, pins: &Pins) -> PathBuf {
    let name = pins.root().to_string_lossy().replace('/', "-");
    state_dir.join(format!("off{name}"))
}

/// Notes that the node is to be off, or is not any more.
///
/// # Errors
///
/// Where the file cannot be written or removed.
pub fn set(state_dir: &Path, pins: &Pins, off: bool) -> Result<()> {
    let path = path(state_dir, pins);
    if off {
        fs::create_dir_all(state_dir)
            .with_context(|| format!("cannot create {}", state_dir.display()))?;
        return fs::write(&path, "sockway on takes this node back in\n")
            .with_context(|| format!("cannot write {}", path.display()));
    }
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => {
            // Somebody else's files keep it.
            let _kept = fs::remove_dir(state_dir);
            Ok(())
        }
    }
}

/// Whether the node is to be off.
pub fn is_set(state_dir: &Path, pins: &Pins) -> bool {
    path(state_dir, pins).exists()
}

/// Has the programs in place be off or on; whether anything changed.
///
/// # Errors
///
/// Where the maps cannot be read or written.
pub fn apply(wanted: bool, pins: &Pins) -> Result<bool, Error> {
    if switch::is_off(pins)? == wanted {
        return Ok(false);
    }
    switch::node(pins, wanted)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{is_set, set};
    use sockway_datapath::Pins;

    #[test]
    fn each_installation_has_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (one, other) = (Pins::new("/sys/fs/bpf/sockway"), Pins::new("/tmp/bpf"));
        assert!(!is_set(&state, &one));
        set(&state, &one, true).unwrap();
        set(&state, &one, true).unwrap();
        assert!(is_set(&state, &one) && !is_set(&state, &other));
        set(&state, &one, false).unwrap();
        set(&state, &one, false).unwrap();
        assert!(!is_set(&state, &one) && !state.exists());
    }
}

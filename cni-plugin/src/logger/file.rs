//! A log file of bounded size that nobody can turn into something else.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::constants::MAX_LOG_FILE;

/// Opens a log file for appending, and makes it where it is missing (mode
/// 0600; its directory must be there). One that is full is set aside as `.1`.
///
/// # Errors
/// Where it cannot be opened, or is no file of our own: a symlink, a FIFO, a
/// hard link to something else.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = append(path)?;
    if file.metadata()?.len() < MAX_LOG_FILE {
        return Ok(file);
    }
    // Plugins run at the same time: who gets the lock sets the file aside, if
    // it is still the one at the path; the others go on in the one they have.
    if file.try_lock().is_err() || !is_at(path, &file)? {
        return append(path);
    }
    let mut aside = OsString::from(path);
    aside.push(".1");
    fs::rename(path, aside)?;
    append(path)
}

fn append(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.nlink() > 1 {
        return Err(io::Error::other(
            "not a regular file, or one with other names",
        ));
    }
    Ok(file)
}

fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    let (there, ours) = (fs::symlink_metadata(path)?, file.metadata()?);
    Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::{MAX_LOG_FILE, open};

    #[test]
    fn appends_and_keeps_others_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cni.log");
        for line in ["one\n", "two\n"] {
            open(&path).unwrap().write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn two_files_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cni.log");
        for _ in 0..3 {
            open(&path).unwrap().set_len(MAX_LOG_FILE).unwrap();
        }
        open(&path).unwrap();
        let names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap())
            .collect();
        assert_eq!(names.len(), 2);
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        let aside = fs::metadata(dir.path().join("cni.log.1")).unwrap();
        assert_eq!(aside.len(), MAX_LOG_FILE);
    }

    #[test]
    fn while_another_plugin_turns_the_file_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cni.log");
        let other = open(&path).unwrap();
        other.set_len(MAX_LOG_FILE).unwrap();
        other.lock().unwrap();
        open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), MAX_LOG_FILE);
        assert!(!dir.path().join("cni.log.1").exists());
    }

    #[test]
    fn what_is_not_our_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("target"), "").unwrap();
        symlink(at("target"), at("symlink")).unwrap();
        symlink(at("nothing"), at("dangling")).unwrap();
        fs::hard_link(at("target"), at("hardlink")).unwrap();
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        fs::create_dir(at("dir")).unwrap();
        for name in [
            "symlink",
            "dangling",
            "hardlink",
            "fifo",
            "dir",
            "no/such/dir",
        ] {
            assert!(open(&at(name)).is_err(), "{name}");
        }
        assert!(!at("nothing").exists() && !at("no").exists());
        assert_eq!(fs::metadata(at("target")).unwrap().len(), 0);
    }
}

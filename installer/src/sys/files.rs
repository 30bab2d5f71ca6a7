//! Files on the node, changed so that a power cut at any moment leaves the old or the new one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::OFlag;
use serde::Serialize;

/// No CNI configuration is longer; what is, is not one.
const MAX_TEXT: u64 = 1 << 20;
/// How long one process waits for another to finish with a directory.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A text file as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its contents.
    pub text: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Whether anything was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Written {
    /// The file was replaced.
    Changed,
    /// It already was as it should be.
    #[default]
    Unchanged,
    /// Another program changed it in the meantime: nothing of that was undone; read again.
    Overtaken,
}

/// Reads a regular file of UTF-8 text; symbolic links are not followed.
///
/// # Errors
///
/// What is not such a file, with its path.
pub fn read(path: &Path) -> Result<Snapshot> {
    let mut file = open(path)?;
    let meta = file
        .metadata()
        .with_context(|| format!("cannot look at {}", path.display()))?;
    ensure!(
        meta.len() <= MAX_TEXT,
        "{} has {} bytes, which no CNI configuration has: not touched",
        path.display(),
        meta.len()
    );
    let mut text = String::new();
    file.read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Snapshot {
        text,
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
    })
}

/// Opens a regular file for reading; symbolic links are not followed.
fn open(path: &Path) -> Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
    {
        Ok(file) => file,
        Err(e) if e.raw_os_error() == Some(nix::Error::ELOOP as i32) => bail!(
            "{} is a symbolic link, which is never written through: put a regular file there",
            path.display()
        ),
        Err(e) => return Err(e).with_context(|| format!("cannot open {}", path.display())),
    };
    let meta = file
        .metadata()
        .with_context(|| format!("cannot look at {}", path.display()))?;
    ensure!(
        meta.is_file(),
        "{} is not a regular file: not touched",
        path.display()
    );
    Ok(file)
}

/// Replaces a file that was read as `old`, keeping its mode and owner.
///
/// # Errors
///
/// Any step that failed, with its path; the file is then as before.
pub fn replace(path: &Path, old: &Snapshot, text: &str) -> Result<Written> {
    if old.text == text {
        return Ok(Written::Unchanged);
    }
    let temporary = Temporary::create(path)?;
    temporary.fill(text.as_bytes(), old.mode, Some((old.uid, old.gid)))?;
    // Another installer may have written meanwhile; what it wrote must not be lost.
    if read(path)? != *old {
        return Ok(Written::Overtaken);
    }
    temporary.put_in_place(path)?;
    let overtaken = read(path)?.text != text;
    Ok(if overtaken {
        Written::Overtaken
    } else {
        Written::Changed
    })
}

/// Copies a program to `to` (mode 0755), unless it is there already.
///
/// # Errors
///
/// Any step that failed, with its path; `to` is then as before.
pub fn copy_program(from: &Path, to: &Path) -> Result<Written> {
    let program = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    match fs::symlink_metadata(to) {
        Ok(meta) if meta.is_file() => {
            let same = meta.len() == program.len() as u64
                && meta.mode() & 0o7777 == 0o755
                && fs::read(to).is_ok_and(|present| present == program);
            if same {
                return Ok(Written::Unchanged);
            }
        }
        Ok(_) => bail!(
            "{} is not a regular file: remove it, or name another directory with --cni-bin-dir",
            to.display()
        ),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).with_context(|| format!("cannot look at {}", to.display())),
    }
    let temporary = Temporary::create(to)?;
    temporary.fill(&program, 0o755, None)?;
    temporary.put_in_place(to)?;
    Ok(Written::Changed)
}

/// Removes a regular file; one that is gone is no error. True where it was there.
///
/// # Errors
///
/// The cause, with the path.
pub fn remove(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => bail!("{} is a directory: not removed", path.display()),
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e).with_context(|| format!("cannot look at {}", path.display())),
    }
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    sync_directory(path)?;
    Ok(true)
}

/// Suffix of files that are not in place yet; no runtime loads it.
const TEMPORARY: &str = ".sockway-tmp";

/// Where a file's new contents are written first: hidden, in the same directory.
pub fn temporary_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{TEMPORARY}"))
}

/// Removes what runs that were killed left in a directory; one that is not there holds nothing.
///
/// # Errors
///
/// The cause, with the path.
pub fn remove_leftovers(directory: &Path) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", directory.display())),
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') && name.ends_with(TEMPORARY) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Keeps other sockway processes from changing files of a directory while the value lives.
/// Waits up to `wait` for another one to finish.
///
/// # Errors
///
/// Where another still holds the lock, or the directory cannot be opened.
pub fn lock_directory(directory: &Path, wait: Duration) -> Result<File> {
    let file =
        File::open(directory).with_context(|| format!("cannot open {}", directory.display()))?;
    let deadline = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => bail!(
                "{} is locked by another sockway process: wait for it and try again",
                directory.display()
            ),
            Err(TryLockError::Error(e)) => {
                return Err(e).with_context(|| format!("cannot lock {}", directory.display()));
            }
        }
    }
}

fn sync_directory(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)
        .and_then(|d| d.sync_all())
        .with_context(|| format!("cannot write {} to disk", directory.display()))
}

/// The new file while it is not in place; removed if it never gets there.
struct Temporary {
    path: PathBuf,
    /// Closed before the rename: a program that is open for writing cannot be started.
    file: Option<File>,
}

impl Temporary {
    fn create(target: &Path) -> Result<Self> {
        let path = temporary_path(target);
        // One may be left from a run that was killed.
        remove(&path)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OFlag::O_CLOEXEC.bits())
            .open(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self {
            path,
            file: Some(file),
        })
    }

    fn fill(&self, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> Result<()> {
        let fill = || -> io::Result<()> {
            let Some(mut file) = self.file.as_ref() else {
                return Err(io::ErrorKind::NotFound.into());
            };
            if let Some((uid, gid)) = owner {
                let meta = file.metadata()?;
                if (meta.uid(), meta.gid()) != (uid, gid) {
                    fchown(file, Some(uid), Some(gid))?;
                }
            }
            file.write_all(bytes)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()
        };
        fill().with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn put_in_place(mut self, target: &Path) -> Result<()> {
        self.file = None;
        fs::rename(&self.path, target).with_context(|| {
            format!(
                "cannot rename {} to {}",
                self.path.display(),
                target.display()
            )
        })?;
        sync_directory(target)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing left to remove.
        if let Err(e) = fs::remove_file(&self.path)
            && e.kind() != io::ErrorKind::NotFound
        {
            log::warn!("cannot remove {}: {e}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests;

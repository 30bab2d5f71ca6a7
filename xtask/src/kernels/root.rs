//! A guest's root while it is filled, and the archive that is made of it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::command;

/// A root being filled.
pub(super) struct Root {
    at: PathBuf,
}

impl Root {
    /// Nothing in it yet, whatever an earlier run left.
    pub(super) fn new(at: PathBuf) -> Result<Self> {
        match fs::remove_dir_all(&at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", at.display()))
            }
            _ => Ok(Self { at }),
        }
    }

    pub(super) fn directory(&self, inside: &Path) -> Result<()> {
        let path = self.at.join(inside);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))
    }

    /// The path of a file of the guest, its directory made.
    fn place(&self, inside: &str) -> Result<PathBuf> {
        let inside = Path::new(inside.trim_start_matches('/'));
        if let Some(parent) = inside.parent() {
            self.directory(parent)?;
        }
        Ok(self.at.join(inside))
    }

    pub(super) fn write(&self, inside: &str, text: &str) -> Result<PathBuf> {
        let path = self.place(inside)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    pub(super) fn link(&self, to: &str, inside: &str) -> Result<()> {
        let path = self.place(inside)?;
        symlink(to, &path).with_context(|| format!("cannot create {}", path.display()))
    }

    pub(super) fn copy(&self, from: &Path, inside: &str) -> Result<()> {
        let to = self.place(inside)?;
        fs::copy(from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        Ok(())
    }

    /// A tree of files, as they are.
    pub(super) fn tree(&self, from: &Path) -> Result<()> {
        self.directory(Path::new(""))?;
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(from.join(".")).arg(&self.at);
        command::run(&mut copy)
    }

    /// The archive for the kernel to unpack; not compressed: that would cost a guest more.
    pub(super) fn pack(&self, archive: &Path) -> Result<()> {
        let file = File::create(archive)
            .with_context(|| format!("cannot create {}", archive.display()))?;
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "find . | cpio -o -H newc -R 0:0 --quiet"])
            .current_dir(&self.at)
            .stdout(file);
        command::run(&mut shell)
    }

    /// A program with the libraries that it asks for.
    pub(super) fn program(&self, from: &Path, inside: &str) -> Result<()> {
        self.copy(from, inside)?;
        for library in libraries(from)? {
            self.copy(&library, &library.to_string_lossy())?;
        }
        Ok(())
    }
}

/// The libraries and the loader that a program asks for; none where it is static.
pub(super) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .context("cannot start ldd")?;
    // ldd fails for static programs.
    Ok(paths(&String::from_utf8_lossy(&output.stdout)))
}

/// The paths in `ldd`'s output: `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`.
fn paths(output: &str) -> Vec<PathBuf> {
    let words = output.lines().filter_map(|line| {
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        path.split_whitespace().next()
    });
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found() {
        let output = "\tlinux-vdso.so.1 (0x00007f)\n\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n\tlibgone.so => not found\n";
        let found = paths(output);
        let expected = ["/lib/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(paths("\tnot a dynamic executable\n").is_empty());
    }
}

//! The files of an image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tar::{Builder, EntryType, Header};

/// Files and directories by path, which start without a slash.
#[derive(Debug, Default)]
pub struct Layer {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    what: What,
    mode: u32,
    owner: u64,
}

#[derive(Debug)]
enum What {
    Directory,
    Copy(PathBuf),
    Text(Vec<u8>),
    Link(String),
}

impl Layer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A program from the file system, for everybody to run.
    #[must_use]
    pub fn program(self, path: &str, from: impl Into<PathBuf>) -> Self {
        self.with(path, What::Copy(from.into()), 0o755, 0)
    }

    /// A file with that content, for everybody to read.
    #[must_use]
    pub fn text(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.with(path, What::Text(content.into()), 0o644, 0)
    }

    /// A directory that belongs to that user and group.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32, owner: u64) -> Self {
        self.with(path, What::Directory, mode, owner)
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(self, path: &str, to: &str) -> Self {
        self.with(path, What::Link(to.to_owned()), 0o777, 0)
    }

    fn with(mut self, path: &str, what: What, mode: u32, owner: u64) -> Self {
        // Directories above a file are there without being named.
        for (end, _) in path.match_indices('/') {
            self.entries.entry(path[..end].to_owned()).or_insert(Entry {
                what: What::Directory,
                mode: 0o755,
                owner: 0,
            });
        }
        self.entries
            .insert(path.to_owned(), Entry { what, mode, owner });
        self
    }

    /// Writes it as a tar whose entries are all of one time (seconds since 1970).
    pub(crate) fn write(&self, to: impl Write, time: u64) -> Result<()> {
        let mut tar = Builder::new(to);
        for (path, entry) in &self.entries {
            let mut header = Header::new_gnu();
            header.set_mode(entry.mode);
            header.set_uid(entry.owner);
            header.set_gid(entry.owner);
            header.set_mtime(time);
            header.set_size(0);
            let appended = match &entry.what {
                What::Directory => {
                    header.set_entry_type(EntryType::Directory);
                    tar.append_data(&mut header, format!("{path}/"), std::io::empty())
                }
                What::Text(content) => {
                    header.set_size(content.len() as u64);
                    tar.append_data(&mut header, path, content.as_slice())
                }
                What::Link(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    tar.append_link(&mut header, path, target)
                }
                What::Copy(from) => {
                    let (file, size) = open(from)?;
                    header.set_size(size);
                    tar.append_data(&mut header, path, file)
                }
            };
            appended.with_context(|| format!("cannot put {path} into the image"))?;
        }
        tar.finish().context("cannot write the layer")
    }
}

/// A file that is copied, and its size.
pub(crate) fn open(path: &Path) -> Result<(impl Read + use<>, u64)> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let size = file
        .metadata()
        .with_context(|| format!("cannot read {}", path.display()))?
        .len();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_calls_does_not_matter() {
        let bytes = |layer: Layer| {
            let mut bytes = Vec::new();
            layer.write(&mut bytes, 7).unwrap();
            bytes
        };
        let one = Layer::new().text("a/b/c", "x").directory("tmp", 0o1777, 0);
        let other = Layer::new().directory("tmp", 0o1777, 0).text("a/b/c", "x");
        assert_eq!(bytes(one), bytes(other));
    }

    #[test]
    fn directories_above_a_file_come_before_it() {
        let mut bytes = Vec::new();
        Layer::new()
            .text("a/b/c", "x")
            .write(&mut bytes, 7)
            .unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let paths: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(paths, ["a/", "a/b/", "a/b/c"]);
    }
}

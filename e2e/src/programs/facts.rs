//! What an exchange came to: compared between plain and accelerated.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use anyhow::{Result, ensure};
use sockway_testkit::command::{Ended, Run};

/// Named facts in the order in which they were found.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq)]
pub(crate) struct Facts(Vec<(String, String)>);

impl Facts {
    /// One more.
    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Runs a program to its end: its exit code and what it printed.
    pub(crate) fn run(&mut self, name: &str, run: Run) -> Result<String> {
        let Ended {
            code,
            stdout,
            stderr,
        } = run.ended()?;
        self.add(
            name,
            format!("exit {code:?}; {}; {}", stdout.trim(), stderr.trim()),
        );
        Ok(stdout)
    }

    /// The same for a program that is to succeed.
    pub(crate) fn succeed(&mut self, name: &str, run: Run) -> Result<String> {
        let text = self.run(name, run)?;
        let (_, last) = &self.0[self.0.len() - 1];
        ensure!(last.starts_with("exit Some(0)"), "{name}: {last}");
        Ok(text)
    }

    /// A file's checksum, which is to be that of the original.
    pub(crate) fn same(&mut self, name: &str, file: &Path, original: &Path) -> Result<()> {
        let (found, wanted) = (checksum(file)?, checksum(original)?);
        ensure!(
            found == wanted,
            "{name}: {} differs from {}",
            file.display(),
            original.display()
        );
        self.add(name, found);
        Ok(())
    }

    /// How many.
    pub(crate) const fn count(&self) -> usize {
        self.0.len()
    }

    /// A number that two equal lists of facts share.
    pub(crate) fn digest(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        format!("{:08x}", hasher.finish() >> 32)
    }

    /// Where the two differ; empty where they do not.
    pub(crate) fn differences(&self, other: &Self) -> String {
        let mut text = String::new();
        if self.count() != other.count() {
            let _ = write!(text, "{} facts against {}; ", self.count(), other.count());
        }
        for ((name, plain), (_, accelerated)) in self.0.iter().zip(&other.0) {
            if plain != accelerated {
                let _ = write!(
                    text,
                    "{name}: plain {plain:?}, accelerated {accelerated:?}; "
                );
            }
        }
        text
    }
}

/// A file's SHA-256 in hexadecimal digits.
pub(crate) fn checksum(file: &Path) -> Result<String> {
    let text = Run::new("sha256sum").arg(file).output()?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::Facts;

    #[test]
    fn differences_are_named() {
        let mut plain = Facts::default();
        plain.add("status", "200");
        plain.add("body", "abc");
        let mut accelerated = Facts::default();
        accelerated.add("status", "200");
        assert!(
            plain
                .differences(&accelerated)
                .contains("2 facts against 1")
        );
        accelerated.add("body", "abd");
        let text = plain.differences(&accelerated);
        assert!(text.contains("body") && text.contains("abd") && !text.contains("status"));
        assert_ne!(plain.digest(), accelerated.digest());
        assert_eq!(plain.differences(&plain.clone()), "");
    }
}

//! The programs from outside the workspace: where `scripts/setup` found or put them.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The directory of `bpf-linker`.
pub const BPF_LINKER_DIR: &str = "SOCKWAY_BPF_LINKER_DIR";
/// The major version of the LLVM that `bpf-linker` is linked with.
pub const BPF_LLVM: &str = "SOCKWAY_BPF_LLVM";
/// A cargo to be used for the eBPF build instead of the one found.
pub const BPF_CARGO: &str = "SOCKWAY_BPF_CARGO";

/// The directory of what conf/check runs.
pub const CONF_TOOLS: &str = "SOCKWAY_CONF_TOOLS";

const PREFIX: &str = "SOCKWAY_";

/// `target/tools.env`, each line of which the environment can override.
#[derive(Debug, Default)]
pub struct Tools {
    values: BTreeMap<String, String>,
}

impl Tools {
    /// Reads the file (its absence is no error: the environment and `PATH` may do).
    ///
    /// # Errors
    /// When the file cannot be read or holds a line that is not `SOCKWAY_NAME=value`.
    pub fn load(file: &Path) -> Result<Self> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        let mut tools = Self::parse(&text)
            .with_context(|| format!("cannot use {}: run scripts/setup again", file.display()))?;
        for (name, value) in env::vars().filter(|(name, _)| name.starts_with(PREFIX)) {
            tools.values.insert(name, value);
        }
        Ok(tools)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut values = BTreeMap::new();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            match line.split_once('=') {
                Some((name, value)) if name.starts_with(PREFIX) => {
                    values.insert(name.to_owned(), value.to_owned());
                }
                _ => bail!("the line {line:?} is not {PREFIX}NAME=value"),
            }
        }
        Ok(Self { values })
    }

    /// A value, if there is one and it is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Hands everything known to a child program.
    pub fn export(&self, command: &mut Command) {
        command.envs(&self.values);
    }

    /// `PATH` with the directory that a value names in front, if it is known.
    ///
    /// # Errors
    /// When the directory cannot stand in `PATH`.
    pub fn path_with(&self, name: &str) -> Result<OsString> {
        let path = env::var_os("PATH").unwrap_or_default();
        let Some(directory) = self.get(name) else {
            return Ok(path);
        };
        let directories = [PathBuf::from(directory)]
            .into_iter()
            .chain(env::split_paths(&path));
        env::join_paths(directories)
            .with_context(|| format!("{name}={directory} cannot stand in PATH"))
    }

    /// `PATH` with the directory of `bpf-linker` in front.
    ///
    /// # Errors
    /// When `bpf-linker` is nowhere.
    pub fn path_with_bpf_linker(&self) -> Result<OsString> {
        let path = self.path_with(BPF_LINKER_DIR)?;
        if self.get(BPF_LINKER_DIR).is_some() {
            return Ok(path);
        }
        if env::split_paths(&path).any(|directory| directory.join("bpf-linker").is_file()) {
            return Ok(path);
        }
        bail!(
            "bpf-linker is neither known to target/tools.env nor in PATH: run scripts/setup build"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_values() {
        let tools = Tools::parse("# found\nSOCKWAY_A=/x=y\n\nSOCKWAY_B=\n").unwrap();
        assert_eq!(tools.get("SOCKWAY_A"), Some("/x=y"));
        assert_eq!(tools.get("SOCKWAY_B"), None);
        assert_eq!(tools.get("SOCKWAY_C"), None);
    }

    #[test]
    fn refuses_other_lines_by_name() {
        let error = Tools::parse("PATH=/tmp\n").unwrap_err().to_string();
        assert!(error.contains("PATH=/tmp"), "{error}");
    }
}

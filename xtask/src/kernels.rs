//! Other kernels: guests under qemu that run the checks of `cargo xtask kernels`.

pub mod console;
pub mod image;
pub mod machine;
pub mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::Workspace;

/// What `scripts/setup kernels` fetched.
const KERNELS: &str = "SOCKWAY_KERNELS";

/// Every check of a guest, in the order in which they run.
pub const CHECKS: [&str; 6] = [
    "load",
    "no-btf",
    "datapath",
    "registry",
    "semantics",
    "integrity",
];

/// A kernel to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// As people say it: `6.12`.
    pub name: String,
    /// `vmlinuz`, `modules/`.
    pub directory: PathBuf,
}

impl Kernel {
    /// Those that were fetched and are named; all where none is named, oldest first.
    ///
    /// # Errors
    /// When there are none, or none of that name.
    pub fn choose(workspace: &Workspace, names: &[String]) -> Result<Vec<Self>> {
        let home = workspace
            .tools()
            .get(KERNELS)
            .with_context(|| format!("{KERNELS} is not known: run scripts/setup kernels"))?;
        let all = Self::all(Path::new(home))?;
        if names.is_empty() {
            return Ok(all);
        }
        names.iter().map(|name| Self::of(&all, name)).collect()
    }

    fn of(all: &[Self], name: &str) -> Result<Self> {
        if let Some(kernel) = all.iter().find(|kernel| kernel.name == name) {
            return Ok(kernel.clone());
        }
        let names: Vec<_> = all.iter().map(|kernel| kernel.name.as_str()).collect();
        bail!(
            "there is no kernel {name:?}; the kernels are {}",
            names.join(", ")
        )
    }

    fn all(home: &Path) -> Result<Vec<Self>> {
        let entries = fs::read_dir(home).with_context(|| {
            format!("cannot list {}: run scripts/setup kernels", home.display())
        })?;
        let mut kernels = Vec::new();
        for entry in entries {
            let directory = entry?.path();
            if directory.join("release").is_file() {
                let name = directory.file_name().unwrap_or_default();
                kernels.push(Self {
                    name: name.to_string_lossy().into_owned(),
                    directory,
                });
            }
        }
        if kernels.is_empty() {
            bail!(
                "no kernels in {}: run scripts/setup kernels",
                home.display()
            );
        }
        kernels.sort_by_key(|kernel| version(&kernel.name));
        Ok(kernels)
    }

    /// What qemu shall show the guest. Without cmpxchg16b, which qemu 7.2 gets wrong for
    /// 6.12 in more than half of all boots; but 7.x has no socket storage without it.
    pub fn cpu(&self) -> &'static str {
        if version(&self.name) < vec![7] {
            "max,-cx16"
        } else {
            "max"
        }
    }
}

fn version(name: &str) -> Vec<u32> {
    name.split('.')
        .map(|part| part.parse().unwrap_or(u32::MAX))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels(directory: &Path, names: &[&str]) {
        for name in names {
            fs::create_dir(directory.join(name)).unwrap();
            fs::write(directory.join(name).join("release"), name).unwrap();
        }
    }

    #[test]
    fn the_oldest_comes_first() {
        let home = tempfile::tempdir().unwrap();
        kernels(home.path(), &["6.12", "7", "5.10", "6.1"]);
        fs::create_dir(home.path().join("apt")).unwrap();
        let all = Kernel::all(home.path()).unwrap();
        let names: Vec<_> = all.iter().map(|kernel| kernel.name.as_str()).collect();
        assert_eq!(names, ["5.10", "6.1", "6.12", "7"]);
        let cpus: Vec<_> = all.iter().map(Kernel::cpu).collect();
        assert_eq!(cpus, ["max,-cx16", "max,-cx16", "max,-cx16", "max"]);
        assert_eq!(Kernel::of(&all, "6.1").unwrap(), all[1]);
        let error = Kernel::of(&all, "2.4").unwrap_err().to_string();
        assert!(error.contains("5.10, 6.1, 6.12, 7"), "{error}");
    }

    #[test]
    fn no_kernels_are_an_error_with_its_remedy() {
        let home = tempfile::tempdir().unwrap();
        let error = Kernel::all(home.path()).unwrap_err().to_string();
        assert!(error.contains("scripts/setup kernels"), "{error}");
    }
}

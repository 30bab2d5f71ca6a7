//! Other kernels: guests under qemu that run the checks of `cargo xtask kernels`.

pub mod console;
pub mod image;
pub mod machine;
mod programs;
mod qemu;
mod root;
pub mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::Workspace;
use crate::arch::Arch;

/// What `scripts/setup` fetched, and the piece of it that did.
pub(crate) const fn fetched(arch: Arch) -> (&'static str, &'static str) {
    match arch {
        Arch::Amd64 => ("SOCKWAY_KERNELS", "scripts/setup kernels"),
        Arch::Arm64 => ("SOCKWAY_KERNELS_ARM64", "scripts/setup kernels-arm64"),
    }
}

/// Where all of an architecture's were put.
pub(crate) fn home(workspace: &Workspace, arch: Arch) -> Result<PathBuf> {
    let (name, setup) = fetched(arch);
    let home = workspace.tools().get(name).map(PathBuf::from);
    home.with_context(|| format!("{name} is not known: run {setup}"))
}

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
    /// What it runs on.
    pub arch: Arch,
    /// `vmlinuz`, `modules/`.
    pub directory: PathBuf,
}

impl Kernel {
    /// Those that were fetched and are named; all where none is named, oldest first.
    ///
    /// # Errors
    /// When there are none, or none of that name.
    pub fn choose(workspace: &Workspace, arch: Arch, names: &[String]) -> Result<Vec<Self>> {
        let all = Self::all(arch, &home(workspace, arch)?)?;
        if names.is_empty() {
            return Ok(all);
        }
        names.iter().map(|name| Self::of(&all, name)).collect()
    }

    /// A word in what `status` says of the one rule that cannot work in full on this kernel: who reads
    /// to the end is told by a tracepoint from 6.3 on, before by programs on functions, which
    /// arm64's kernels did not take then.
    pub fn lacks(&self) -> &'static str {
        if self.arch == Arch::Arm64 && version(&self.name) < vec![6, 3] {
            "edge-triggered"
        } else {
            "no rule"
        }
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

    fn all(arch: Arch, home: &Path) -> Result<Vec<Self>> {
        let (_, setup) = fetched(arch);
        let entries = fs::read_dir(home)
            .with_context(|| format!("cannot list {}: run {setup}", home.display()))?;
        let mut kernels = Vec::new();
        for entry in entries {
            let directory = entry?.path();
            if directory.join("release").is_file() {
                let name = directory.file_name().unwrap_or_default();
                kernels.push(Self {
                    name: name.to_string_lossy().into_owned(),
                    arch,
                    directory,
                });
            }
        }
        if kernels.is_empty() {
            bail!("no kernels in {}: run {setup}", home.display());
        }
        kernels.sort_by_key(|kernel| version(&kernel.name));
        Ok(kernels)
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
        let all = Kernel::all(Arch::Amd64, home.path()).unwrap();
        let names: Vec<_> = all.iter().map(|kernel| kernel.name.as_str()).collect();
        assert_eq!(names, ["5.10", "6.1", "6.12", "7"]);
        let cpus: Vec<_> = all.iter().map(qemu::cpu).collect();
        assert_eq!(cpus, ["max,-cx16", "max,-cx16", "max,-cx16", "max"]);
        assert_eq!(Kernel::of(&all, "6.1").unwrap(), all[1]);
        let error = Kernel::of(&all, "2.4").unwrap_err().to_string();
        assert!(error.contains("5.10, 6.1, 6.12, 7"), "{error}");
    }

    #[test]
    fn arm64s_kernels_have_one_processor_and_the_old_ones_lack_a_rule() {
        let home = tempfile::tempdir().unwrap();
        kernels(home.path(), &["5.10", "7"]);
        let all = Kernel::all(Arch::Arm64, home.path()).unwrap();
        let cpus: Vec<_> = all.iter().map(qemu::cpu).collect();
        assert_eq!(cpus, ["neoverse-n1"; 2]);
        let lacks: Vec<_> = all.iter().map(Kernel::lacks).collect();
        assert_eq!(lacks, ["edge-triggered", "no rule"]);
    }

    #[test]
    fn no_kernels_are_an_error_with_its_remedy() {
        let home = tempfile::tempdir().unwrap();
        let error = Kernel::all(Arch::Amd64, home.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("scripts/setup kernels"), "{error}");
    }
}

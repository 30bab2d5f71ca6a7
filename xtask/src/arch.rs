//! The architectures that Sockway is for.

use anyhow::{Context as _, Result, bail};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

impl Arch {
    /// This machine's.
    pub const HOST: Self = if cfg!(target_arch = "aarch64") {
        Self::Arm64
    } else {
        Self::Amd64
    };

    /// As images and packages name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As compilers and qemu name it.
    pub const fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// Takes `--arch NAME` out of a verb's arguments; without it, this machine's.
    ///
    /// # Errors
    /// When the name is missing or no architecture's.
    pub fn take(arguments: &[String]) -> Result<(Self, Vec<String>)> {
        let mut arch = Self::HOST;
        let mut others = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--arch" {
                arch = Self::parse(rest.next().context("--arch needs amd64 or arm64")?)?;
            } else {
                others.push(argument.clone());
            }
        }
        Ok((arch, others))
    }

    fn parse(name: &str) -> Result<Self> {
        let found = [Self::Amd64, Self::Arm64]
            .into_iter()
            .find(|arch| arch.name() == name);
        match found {
            Some(arch) => Ok(arch),
            None => bail!("{name:?} is no architecture; they are amd64 and arm64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(line: &str) -> Result<(Arch, Vec<String>)> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Arch::take(&words)
    }

    #[test]
    fn an_architecture_is_taken_out_of_the_arguments() {
        let others = vec!["6.1".to_owned(), "--all".to_owned()];
        assert_eq!(
            take("6.1 --arch arm64 --all").unwrap(),
            (Arch::Arm64, others)
        );
        assert_eq!(take("--arch amd64").unwrap(), (Arch::Amd64, Vec::new()));
        assert_eq!(take("").unwrap(), (Arch::HOST, Vec::new()));
        for wrong in ["--arch", "--arch riscv64"] {
            let error = take(wrong).unwrap_err().to_string();
            assert!(error.contains("amd64"), "{error}");
        }
    }
}

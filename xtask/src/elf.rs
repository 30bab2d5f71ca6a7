//! Whether a program is statically linked (it names no dynamic loader), and for which architecture.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use object::LittleEndian;
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

type Header = FileHeader64<LittleEndian>;

/// The dynamic loader that a 64-bit little-endian ELF file asks for, if any.
///
/// # Errors
/// When the file cannot be read or is something else.
pub fn loader(path: &Path) -> Result<Option<String>> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    interpreter(&content).with_context(|| format!("cannot understand {}", path.display()))
}

/// The architecture that an ELF file was built for, as OCI images name it.
///
/// # Errors
/// When the file cannot be read or is for another one.
pub fn architecture(path: &Path) -> Result<&'static str> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    machine(&content).with_context(|| format!("cannot understand {}", path.display()))
}

fn machine(content: &[u8]) -> Result<&'static str> {
    let header = Header::parse(content)?;
    match header.e_machine(header.endian()?) {
        EM_X86_64 => Ok("amd64"),
        EM_AARCH64 => Ok("arm64"),
        machine => bail!("it is for machine {machine} of the ELF specification"),
    }
}

fn interpreter(content: &[u8]) -> Result<Option<String>> {
    let header = Header::parse(content)?;
    let endian = header.endian()?;
    for program in header.program_headers(endian, content)? {
        if let Some(name) = program.interpreter(endian, content)? {
            return Ok(Some(String::from_utf8_lossy(name).into_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use object::elf::PT_INTERP;

    use super::*;

    /// A header, one program header of that type, and a loader's name.
    fn file(kind: u32) -> Vec<u8> {
        let name = b"/lib/ld.so\0";
        let mut file = vec![0; 64 + 56];
        file[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64..68].copy_from_slice(&kind.to_le_bytes());
        file[72] = 120;
        file[96] = u8::try_from(name.len()).unwrap();
        file.extend_from_slice(name);
        file
    }

    #[test]
    fn names_the_loader() {
        assert_eq!(
            interpreter(&file(PT_INTERP)).unwrap().as_deref(),
            Some("/lib/ld.so")
        );
        assert_eq!(interpreter(&file(1)).unwrap(), None);
    }

    #[test]
    fn names_the_architecture() {
        let mut file = file(1);
        file[18] = 183;
        assert_eq!(machine(&file).unwrap(), "arm64");
        file[18] = 62;
        assert_eq!(machine(&file).unwrap(), "amd64");
        file[18] = 8;
        assert!(machine(&file).is_err());
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        assert!(interpreter(b"#!/bin/sh").is_err());
        let whole = file(PT_INTERP);
        for length in 0..whole.len() {
            assert!(
                interpreter(&whole[..length]).is_err(),
                "cut to {length} bytes"
            );
        }
    }
}

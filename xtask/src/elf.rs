//! Whether a program is statically linked (it names no dynamic loader), and for which architecture.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
/// The program header that names the dynamic loader.
const PT_INTERP: u32 = 3;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;

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
    match u16::from_le_bytes(field(content, 18)?) {
        EM_X86_64 => Ok("amd64"),
        EM_AARCH64 => Ok("arm64"),
        machine => bail!("it is for machine {machine} of the ELF specification"),
    }
}

fn interpreter(content: &[u8]) -> Result<Option<String>> {
    if !content.starts_with(&[0x7f, b'E', b'L', b'F', CLASS_64, LITTLE_ENDIAN]) {
        bail!("it is no 64-bit little-endian ELF file");
    }
    let start = usize::try_from(u64::from_le_bytes(field(content, 32)?))?;
    let size = usize::from(u16::from_le_bytes(field(content, 54)?));
    let count = usize::from(u16::from_le_bytes(field(content, 56)?));
    for index in 0..count {
        let header = start.saturating_add(index * size);
        if u32::from_le_bytes(field(content, header)?) != PT_INTERP {
            continue;
        }
        let offset = usize::try_from(u64::from_le_bytes(field(
            content,
            header.saturating_add(8),
        )?))?;
        let length = usize::try_from(u64::from_le_bytes(field(
            content,
            header.saturating_add(32),
        )?))?;
        let name = content
            .get(offset..offset.saturating_add(length))
            .context("its loader's name is cut off")?;
        return Ok(Some(
            String::from_utf8_lossy(name)
                .trim_end_matches('\0')
                .to_owned(),
        ));
    }
    Ok(None)
}

fn field<const N: usize>(content: &[u8], offset: usize) -> Result<[u8; N]> {
    let bytes = content
        .get(offset..offset.saturating_add(N))
        .with_context(|| format!("it ends before offset {offset}"))?;
    Ok(bytes.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, one program header of that type, and a loader's name.
    fn file(kind: u32) -> Vec<u8> {
        let name = b"/lib/ld.so\0";
        let mut file = vec![0; 64 + 56];
        file[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
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

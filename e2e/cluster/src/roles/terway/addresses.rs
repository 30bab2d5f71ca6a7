//! Allocations: a file for each address, with the container's id in it.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

const STATE: &str = "/var/lib/terway-standin";
/// Addresses of its pods: the second half of the cluster's.
pub(crate) const NETWORK: &str = "10.124.2.0/23";
pub(crate) const FIRST: Ipv4Addr = Ipv4Addr::new(10, 124, 2, 1);
const MOST: u32 = 500;
/// The router of the network that the node's interfaces are in.
pub(crate) const GATEWAY: &str = "10.124.3.253";

/// The address of a container, and its file.
pub(super) fn find(container: &str) -> Result<Option<(Ipv4Addr, PathBuf)>> {
    let entries = match fs::read_dir(STATE) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        entries => entries.context("list the allocations")?,
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Ok(address) = name.parse()
            && fs::read_to_string(entry.path()).is_ok_and(|text| text == container)
        {
            return Ok(Some((address, entry.path())));
        }
    }
    Ok(None)
}

/// An address for a container: the one that it has, or a free one.
pub(super) fn allocate(container: &str) -> Result<Ipv4Addr> {
    fs::create_dir_all(STATE).context("create the directory of allocations")?;
    if let Some((address, _)) = find(container)? {
        return Ok(address);
    }
    for number in 0..MOST {
        let address = Ipv4Addr::from(u32::from(FIRST) + number);
        let path = Path::new(STATE).join(address.to_string());
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            file => {
                file.and_then(|mut file| file.write_all(container.as_bytes()))
                    .context("allocate")?;
                return Ok(address);
            }
        }
    }
    bail!("no address is left")
}

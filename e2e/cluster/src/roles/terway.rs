//! A stand-in for terway: its CNI plugin, and how its daemon writes the list.
//!
//! A result has one interface whose sandbox is the container's id, and no routes. DEL
//! without a namespace succeeds and says nothing; with one that is gone it fails.

mod addresses;
mod links;

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

pub(crate) use addresses::{FIRST, GATEWAY, NETWORK};
use addresses::{allocate, find};
pub(crate) use links::{BRIDGE, Mode, VPC};
use links::{cross, inside, wire};

/// Prefix length of what pods' addresses are part of.
const PREFIX: u32 = 22;
/// Which mode the node is in.
pub(crate) const MODE: &str = "/var/lib/terway-standin.mode";

/// The plugin: a call by the environment and standard input.
pub(crate) fn plugin() -> ExitCode {
    let (answer, code) = match call() {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(error) => {
            let answer = json!({ "cniVersion": "0.4.0", "code": 999, "msg": format!("{error:#}") });
            (Some(answer), ExitCode::FAILURE)
        }
    };
    let written = answer.map(|answer| std::io::stdout().write_all(answer.to_string().as_bytes()));
    if written.is_none_or(|written| written.is_ok()) {
        code
    } else {
        ExitCode::FAILURE
    }
}

fn call() -> Result<Option<Value>> {
    let var = |name: &str| env::var(name).unwrap_or_default();
    let (container, netns, ifname) = (var("CNI_CONTAINERID"), var("CNI_NETNS"), var("CNI_IFNAME"));
    match var("CNI_COMMAND").as_str() {
        "VERSION" => Ok(Some(json!({ "cniVersion": "0.4.0",
            "supportedVersions": ["0.3.0", "0.3.1", "0.4.0"] }))),
        "ADD" => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("read the configuration")?;
            let conf: Value = serde_json::from_str(&text).context("the configuration")?;
            let address = allocate(&container)?;
            // Asked again for the same interface, terway answers as before.
            if inside(&netns, &format!("link show {ifname}")).is_err() {
                match mode()? {
                    Mode::Policy => wire(&netns, &ifname, address)?,
                    Mode::Exclusive => cross(&netns, &ifname, address)?,
                }
            }
            Ok(Some(json!({
                "cniVersion": conf["cniVersion"],
                "interfaces": [{ "name": ifname, "sandbox": container }],
                "ips": [{ "version": "4", "interface": 0, "address": format!("{address}/{PREFIX}"),
                    "gateway": GATEWAY }],
                "dns": {},
            })))
        }
        "DEL" => del(&container, &netns, &ifname).map(|()| None),
        _ => Ok(None),
    }
}

fn del(container: &str, netns: &str, ifname: &str) -> Result<()> {
    if !netns.is_empty() {
        if !Path::new(netns).exists() {
            bail!("failed to open netns {netns:?}: no such file or directory");
        }
        // Gone already where DEL is asked for again.
        let _ = inside(netns, &format!("link delete {ifname}"));
    }
    if let Some((address, path)) = find(container)? {
        links::forget(address);
        fs::remove_file(path).context("release the address")?;
    }
    Ok(())
}

fn mode() -> Result<Mode> {
    let text = fs::read_to_string(MODE).with_context(|| format!("cannot read {MODE}"))?;
    Mode::parse(text.trim())
}

/// The daemon's part: once at its start it truncates the list on the node and writes
/// what its `ConfigMap` has, mode 0600; then it serves.
pub(crate) fn rewrite(from: &Path, directory: &Path) -> Result<()> {
    let text = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let to = directory.join("10-terway.conflist");
    let mut file: File = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&to)
        .with_context(|| format!("cannot write {}", to.display()))?;
    file.write_all(&text).context("cannot write the list")?;
    let _ = fs::remove_file(directory.join("10-terway.conf"));
    drop(file);
    loop {
        std::thread::sleep(Duration::from_hours(1));
    }
}

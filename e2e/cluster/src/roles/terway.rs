//! A stand-in for terway's CNI plugin, and for how its daemon writes the list.
//!
//! As the real binary in policy route mode (`TypeENIMultiIP`): a veth pair whose end in
//! the pod has a /32 and its default route by 169.254.1.1; on the node a route to the
//! pod, a rule 512 towards it and a rule 2048 from it into a table of its own; a result
//! of one interface whose sandbox is the container's id, with no routes. DEL without a
//! namespace succeeds and says nothing; with one that is gone it fails.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::run::Run;

/// Allocations: a file for each address, with the container's id in it.
const STATE: &str = "/var/lib/terway-standin";
/// Addresses of its pods: the second half of the cluster's.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 124, 2, 1);
const MOST: u32 = 500;
const PREFIX: u32 = 22;
const GATEWAY: &str = "10.124.3.253";
/// The pod's next hop, which only the neighbour table knows.
const HOP: &str = "169.254.1.1";
/// The routing table of the network interface that pods' packets leave by.
const TABLE: u32 = 1003;

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
            wire(&netns, &ifname, address)?;
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
        // Rules do not go with the interface.
        let _ = ip(&format!("rule delete pref 512 to {address}"));
        let _ = ip(&format!("rule delete pref 2048 from {address}"));
        fs::remove_file(path).context("release the address")?;
    }
    Ok(())
}

fn wire(netns: &str, ifname: &str, address: Ipv4Addr) -> Result<()> {
    let [.., high, low] = address.octets();
    let host = format!("cali{high}x{low}");
    // Asked again for the same interface, terway answers as before.
    if inside(netns, &format!("link show {ifname}")).is_ok() {
        return Ok(());
    }
    ip(&format!(
        "link add {host} type veth peer name {ifname} netns {netns}"
    ))?;
    ip(&format!("link set {host} up"))?;
    let mac = fs::read_to_string(format!("/sys/class/net/{host}/address")).context("no MAC")?;
    for line in [
        format!("address add {address}/32 dev {ifname}"),
        format!("link set {ifname} up"),
        format!("route add {HOP} dev {ifname} scope link"),
        format!("route add default via {HOP} dev {ifname}"),
        format!(
            "neigh replace {HOP} lladdr {} dev {ifname} nud permanent",
            mac.trim()
        ),
    ] {
        inside(netns, &line)?;
    }
    ip(&format!("route replace {address}/32 dev {host}"))?;
    ip(&format!("rule add pref 512 to {address} lookup main"))?;
    ip(&format!("rule add pref 2048 from {address} lookup {TABLE}"))?;
    // The way out of the node; the packets between its pods find the first rule.
    let default = Run::new("ip").args(["route", "show", "default"]).output()?;
    let words = default.lines().next().unwrap_or_default().trim();
    ip(&format!("route replace table {TABLE} {words}"))
}

fn ip(line: &str) -> Result<()> {
    Run::new("ip").args(line.split_whitespace()).done()
}

fn inside(netns: &str, line: &str) -> Result<()> {
    Run::new("nsenter")
        .arg(format!("--net={netns}"))
        .arg("ip")
        .args(line.split_whitespace())
        .done()
}

fn find(container: &str) -> Result<Option<(Ipv4Addr, PathBuf)>> {
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

fn allocate(container: &str) -> Result<Ipv4Addr> {
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

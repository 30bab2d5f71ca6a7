//! A plugin that answers as terway does.
//!
//! What it answers in each of its modes is the same shape (one interface whose
//! sandbox is the container id, one address for each family with the prefix
//! length of the pod network, no routes); what differs between releases and
//! set-ups is what is left out. Where terwayd would allocate, files in a
//! directory do.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};
use sockway_testkit::command::Run;
use sockway_testkit::command::ip;

use super::Call;

/// Pod networks.
const V4: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 0);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 0);
/// Addresses in a pod network.
const MOST: u16 = 4000;

/// The part of the configuration that is the test's.
struct Conf {
    /// Directory of the allocations.
    state: PathBuf,
    /// `full`, `no-v6-gateway` (the address is left out), `v1.0` (IPv4 only, no interfaces).
    answers: String,
    /// `dual`, `v4`, `v6`.
    families: String,
}

impl Conf {
    fn of(call: &Call) -> Result<Self> {
        let text = |key: &str| {
            call.conf[key]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("no {key}"))
        };
        Ok(Self {
            state: text("testState")?.into(),
            answers: text("testAnswers")?,
            families: text("testFamilies")?,
        })
    }
}

pub(super) fn answer(call: &Call) -> Result<Option<Value>> {
    let conf = Conf::of(call)?;
    match call.verb.as_str() {
        "ADD" => add(call, &conf).map(Some),
        "DEL" => del(call, &conf).map(|()| None),
        "CHECK" => check(call, &conf).map(|()| None),
        "STATUS" | "GC" => Ok(None),
        verb => bail!("verb {verb}"),
    }
}

fn add(call: &Call, conf: &Conf) -> Result<Value> {
    let number = allocate(call, conf)?;
    let (v4, v6) = addresses(number);
    let (with_v4, with_v6) = (conf.families != "v6", conf.families != "v4");
    // Asked again for the same interface, terway answers as before.
    if !has_interface(call) {
        wire(call, number, with_v4.then_some(v4), with_v6.then_some(v6))?;
    }
    let mut ips = Vec::new();
    if with_v4 {
        ips.push(
            json!({ "version": "4", "interface": 0, "address": format!("{v4}/16"),
                         "gateway": "10.66.255.253" }),
        );
    }
    if with_v6 && conf.answers == "full" {
        ips.push(
            json!({ "version": "6", "interface": 0, "address": format!("{v6}/64"),
                         "gateway": "fd66::ffff:fffd" }),
        );
    }
    // The key went with 1.0.0.
    if call.version().starts_with('1') {
        for ip in ips.iter_mut().filter_map(Value::as_object_mut) {
            ip.remove("version");
        }
    }
    let mut result = json!({ "cniVersion": call.version(), "ips": ips, "dns": {} });
    if conf.answers == "v1.0" {
        for ip in result["ips"].as_array_mut().into_iter().flatten() {
            ip.as_object_mut().map(|ip| ip.remove("interface"));
        }
    } else {
        result["interfaces"] = json!([{ "name": call.ifname, "sandbox": call.container }]);
    }
    Ok(result)
}

/// No namespace: success. One that is gone: an error, which makes runtimes try again.
fn del(call: &Call, conf: &Conf) -> Result<()> {
    if !call.netns.is_empty() {
        if !Path::new(&call.netns).exists() {
            bail!("cannot open network namespace {}: no such file", call.netns);
        }
        if has_interface(call) {
            in_netns(call, &format!("link delete {}", call.ifname))?;
        }
    }
    release(call, conf)
}

fn check(call: &Call, conf: &Conf) -> Result<()> {
    if !has_interface(call) {
        bail!("interface {} is gone", call.ifname);
    }
    if find(call, conf)?.is_none() {
        bail!("container {} has no address", call.container);
    }
    Ok(())
}

fn addresses(number: u16) -> (Ipv4Addr, Ipv6Addr) {
    let v4 = Ipv4Addr::from(u32::from(V4) + u32::from(number));
    let v6 = Ipv6Addr::from(u128::from(V6) + u128::from(number));
    (v4, v6)
}

fn wire(call: &Call, number: u16, v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> Result<()> {
    let (host, ifname) = (format!("terway{number}"), &call.ifname);
    ip(&format!(
        "link add {host} type veth peer name {ifname} netns {}",
        call.netns
    ))?;
    if let Some(v4) = v4 {
        in_netns(call, &format!("address add {v4}/32 dev {ifname}"))?;
    }
    if let Some(v6) = v6 {
        in_netns(call, &format!("address add {v6}/128 dev {ifname} nodad"))?;
    }
    in_netns(call, &format!("link set {ifname} up"))?;
    ip(&format!("link set {host} up"))
}

fn has_interface(call: &Call) -> bool {
    in_netns(call, &format!("link show {}", call.ifname)).is_ok()
}

fn in_netns(call: &Call, args: &str) -> Result<()> {
    let netns = format!("--net={}", call.netns);
    Run::new("nsenter")
        .arg(netns)
        .arg("ip")
        .args(args.split(' '))
        .done()
}

fn owner(call: &Call) -> String {
    format!("{} {}", call.container, call.ifname)
}

/// The directory, and the lock on it for as long as the value lives.
fn locked(conf: &Conf) -> Result<Flock<File>> {
    fs::create_dir_all(&conf.state).context("create the directory of allocations")?;
    let path = conf.state.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .context("open the lock")?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .context("lock")
}

fn find(call: &Call, conf: &Conf) -> Result<Option<u16>> {
    let entries = match fs::read_dir(&conf.state) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        entries => entries.context("list the allocations")?,
    };
    for entry in entries {
        let entry = entry?;
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if fs::read_to_string(entry.path()).is_ok_and(|text| text == owner(call)) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn allocate(call: &Call, conf: &Conf) -> Result<u16> {
    let _lock = locked(conf)?;
    if let Some(number) = find(call, conf)? {
        return Ok(number);
    }
    for number in 1..MOST {
        let path = conf.state.join(number.to_string());
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            file => {
                let text = owner(call);
                file.and_then(|mut file| file.write_all(text.as_bytes()))
                    .context("allocate")?;
                return Ok(number);
            }
        }
    }
    bail!("no address left")
}

fn release(call: &Call, conf: &Conf) -> Result<()> {
    let _lock = locked(conf)?;
    match find(call, conf)? {
        Some(number) => fs::remove_file(conf.state.join(number.to_string())).context("release"),
        None => Ok(()),
    }
}

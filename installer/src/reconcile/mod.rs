//! Making the registered set equal to the live pods.
//!
//! Pods that are older than the install (or that came back with the node) are
//! found in libcni's result cache and checked against their live namespace.
//! They are registered by the plugin itself, called as the runtime would have
//! called it, so that there is one way in which a pod gets registered.

pub mod cache;
mod memory;
pub mod netns;
pub mod plan;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use sockway_common::addr::IpKey;
use sockway_common::pod::{OwnerKey, SandboxRow, field_text};
use sockway_datapath::section::{ANNOTATIONS_CAPABILITY, Section};
use sockway_datapath::{Error, Pins, Registry, switch};

use crate::cni::CniArgs;
use crate::cni::confdir;
use crate::cni::conflist::Conflist;
use crate::cni::plugin;
use crate::sys::files;
use cache::Cached;
pub use memory::Memory;
use plan::{Life, Seen};

/// Where the runtime's own notes on pods are.
#[derive(Args, Clone, Debug)]
pub struct SourceArgs {
    /// Directories of libcni's result caches: those of containerd and CRI-O, cri-dockerd, multus
    /// (repeat it, or a comma list)
    #[arg(
        long,
        value_name = "DIR",
        env = "SOCKWAY_CNI_CACHE_DIR",
        value_delimiter = ',',
        default_value = "/var/lib/cni/results,/var/lib/cni/cache/results,/var/lib/cni/multus/results"
    )]
    pub cni_cache_dir: Vec<PathBuf>,

    /// Directories where runtimes bind pods' network namespaces (repeat it, or a comma list)
    #[arg(
        long,
        value_name = "DIR",
        env = "SOCKWAY_NETNS_DIR",
        value_delimiter = ',',
        default_value = "/run/netns,/run/docker/netns,/run/containerd/io.containerd.grpc.v1.cri/netns,\
/run/k3s/containerd/io.containerd.grpc.v1.cri/netns"
    )]
    pub netns_dir: Vec<PathBuf>,
}

impl SourceArgs {
    /// Directories as a value of their option.
    pub fn word(directories: &[PathBuf]) -> OsString {
        directories
            .iter()
            .map(|directory| directory.as_os_str())
            .collect::<Vec<_>>()
            .join(OsStr::new(","))
    }
}

/// What was done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Live pods that the cache knows.
    pub live: usize,
    /// Pods that were registered now.
    pub registered: Vec<String>,
    /// Pods whose rows were stale and are gone.
    pub removed: Vec<String>,
    /// Pods that got an address back that a younger one had meanwhile.
    pub given_back: Vec<String>,
    /// Addresses that several live pods have, one line each.
    pub shared: Vec<String>,
    /// Registered pods of which neither a cache nor a namespace can be seen; they stay.
    pub in_doubt: usize,
    /// Whether a row stays only because it is young.
    #[serde(skip)]
    pub young: bool,
    /// What could not be done, one line each.
    pub failed: Vec<String>,
}

#[expect(clippy::implicit_hasher, reason = "made by one caller")]
/// Opens network namespaces of pods, and the node's own, by their inode numbers.
pub fn namespaces(sources: &SourceArgs, proc: &Path, wanted: &HashSet<u64>) -> Vec<std::fs::File> {
    let cached = cache::read(&sources.cni_cache_dir).unwrap_or_default();
    let init = proc.join("1/ns/net");
    let paths = [init.as_path(), Path::new("/proc/self/ns/net")].into_iter();
    let paths = paths.chain(cached.iter().map(|cached| cached.netns.as_path()));
    netns::open_all(&sources.netns_dir, paths, wanted.iter().copied())
}

/// Live pods that have no row, by name; nothing is changed. Needs neither maps nor an entry.
///
/// # Errors
///
/// Where conflist or cache cannot be read.
pub fn missing(pins: &Pins, cni: &CniArgs, sources: &SourceArgs) -> Result<Vec<String>> {
    let rows = match Registry::open(pins).and_then(|registry| registry.sandboxes()) {
        Ok(rows) => rows,
        Err(Error::NotInstalled { .. } | Error::OtherLayout { .. }) => Vec::new(),
        Err(e) => return Err(e.into()),
    };
    let Some(network) = Network::find(cni)? else {
        return Ok(Vec::new());
    };
    let places = netns::Places::find(&sources.netns_dir);
    let known = cache::read(&sources.cni_cache_dir)?;
    let live = live(known, &network, &rows, &places);
    let there = |c: &Cached| rows.iter().any(|(owner, _)| *owner == c.owner());
    let missing = live.iter().filter(|(c, _)| !there(c));
    Ok(missing.map(|(c, _)| c.title()).collect())
}

/// Registers live pods that have no row and removes rows whose pod is gone.
///
/// `all`: registers pods again that have a row, for settings that changed.
///
/// # Errors
///
/// Where maps, conflist or cache cannot be read. A single pod's failure is in the report.
pub fn run(pins: &Pins, cni: &CniArgs, sources: &SourceArgs, all: bool) -> Result<Report> {
    run_again(pins, cni, sources, all, &mut Memory::default())
}

/// As [`run`], with what earlier calls saw.
///
/// # Errors
///
/// As there.
pub fn run_again(
    pins: &Pins,
    cni: &CniArgs,
    sources: &SourceArgs,
    all: bool,
    memory: &mut Memory,
) -> Result<Report> {
    let mut registry = Registry::open(pins)?;
    let network = Network::read(cni)?;
    let mut report = Report::default();
    // A row that is older than this has a namespace that is.
    let now = SystemTime::now();
    let known = cache::read(&sources.cni_cache_dir)?;
    let places = netns::Places::find(&sources.netns_dir);
    let mut rows = registry.sandboxes()?;
    let mut seen = Seen {
        cached: known
            .iter()
            .map(|c| (c.owner(), places.of(&c.netns)))
            .collect(),
        namespaces: places.inodes(),
        complete: places.complete,
    };
    for (owner, row) in &rows {
        // Entering namespaces takes time: only of those that no cache knows.
        if !seen.cached.contains_key(owner) && places.is_anothers(row.netns_inode, row.ips()) {
            seen.namespaces.remove(&row.netns_inode);
        }
    }

    let mut in_doubt = 0;
    let retained = registry.retain(|owner, row| {
        let expected = memory.has_seen(owner, row);
        let life = seen.life(owner, row, expected, now);
        in_doubt += usize::from(life == Life::InDoubt);
        report.young |= life == Life::Young;
        life != Life::Gone
    })?;
    report.in_doubt = in_doubt;
    report.removed = retained.removed.iter().map(|(_, row)| title(row)).collect();
    report.failed = retained.errors.iter().map(ToString::to_string).collect();
    let removed: HashSet<OwnerKey> = retained.removed.iter().map(|(owner, _)| *owner).collect();
    rows.retain(|(owner, _)| !removed.contains(owner));
    memory.note(&rows, &seen.namespaces);

    let ports = network.section().envoy_ports;
    let given = registry.give_back(ports.outbound, ports.inbound)?;
    let line = |(ip, row): &(IpKey, SandboxRow)| format!("{} {}", title(row), IpAddr::from(*ip));
    report.given_back = given.iter().map(line).collect();
    report.shared = shared(&rows);

    if all {
        rows.clear();
    }
    let found = live(known, &network, &rows, &places);
    report.live = found.len();
    let seen = Seen {
        cached: found
            .iter()
            .map(|(c, inode)| (c.owner(), plan::Cached::At(*inode)))
            .collect(),
        ..seen
    };
    let rows: HashSet<OwnerKey> = rows.into_iter().map(|(owner, _)| owner).collect();
    let missing: HashSet<OwnerKey> = seen.missing(&rows).collect();
    for (cached, inode) in found.iter().filter(|(c, _)| missing.contains(&c.owner())) {
        match network.register(cached, &cni.plugin_path(), &registry) {
            Ok(()) => {
                report.registered.push(cached.title());
                memory.saw(cached.owner(), *inode);
            }
            Err(e) => report.failed.push(format!("{}: {e:#}", cached.title())),
        }
    }
    if all {
        // What is open may be that of a pod which takes no part any more.
        switch::look_again(pins)?;
    }
    Ok(report)
}

/// `namespace/name` of a registered pod, or its container id.
pub fn title(row: &SandboxRow) -> String {
    let (namespace, name) = (field_text(&row.pod_namespace), field_text(&row.pod_name));
    if name.is_empty() {
        return field_text(&row.container_id).to_owned();
    }
    format!("{namespace}/{name}")
}

/// Addresses that several registered pods have.
fn shared(rows: &[(OwnerKey, SandboxRow)]) -> Vec<String> {
    let mut pods: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    for (_, row) in rows {
        for ip in row.ips() {
            pods.entry(IpAddr::from(*ip)).or_default().push(title(row));
        }
    }
    let several = pods.into_iter().filter(|(_, pods)| pods.len() > 1);
    several
        .map(|(ip, pods)| {
            format!(
                "{ip} is the address of {}: the youngest of them has the row; the address manager gave \
                 it out twice",
                pods.join(" and of ")
            )
        })
        .collect()
}

/// Attachments of the network whose namespace is there, with its inode number.
fn live(
    mut all: Vec<Cached>,
    network: &Network,
    rows: &[(OwnerKey, SandboxRow)],
    places: &netns::Places,
) -> Vec<(Cached, u64)> {
    all.retain(|c| network.is(&c.network_name));
    let mut known: HashSet<u64> = rows.iter().map(|(_, row)| row.netns_inode).collect();
    known.extend(all.iter().filter_map(|c| netns::inode(&c.netns)));
    // Entering namespaces takes time: only for pods that have no row yet.
    let owners: HashSet<OwnerKey> = rows.iter().map(|(owner, _)| *owner).collect();
    let mut lost: Vec<&mut Cached> = all
        .iter_mut()
        .filter(|c| netns::inode(&c.netns).is_none() && !owners.contains(&c.owner()))
        .collect();
    if !lost.is_empty() {
        // A namespace is one attachment's, the youngest that has its addresses: those of a pod that is gone
        // and not forgotten yet may have been given out again.
        let mut namespaces = places.addresses();
        namespaces.retain(|(path, _)| netns::inode(path).is_some_and(|i| !known.contains(&i)));
        lost.sort_by_key(|c| Reverse(c.noted));
        for cached in lost {
            cached.netns = take_by_addresses(cached, &mut namespaces).unwrap_or_default();
        }
    }
    let mut seen = HashSet::new();
    all.into_iter()
        .filter_map(|c| netns::inode(&c.netns).map(|inode| (c, inode)))
        .filter(|(c, _)| seen.insert(c.owner()))
        .collect()
}

/// Takes out the namespace that has all of the attachment's addresses.
fn take_by_addresses(
    cached: &Cached,
    namespaces: &mut Vec<(PathBuf, HashSet<IpAddr>)>,
) -> Option<PathBuf> {
    let addresses = cached.addresses().ok().filter(|ips| !ips.is_empty())?;
    let found = namespaces
        .iter()
        .position(|(_, there)| addresses.iter().all(|ip| there.contains(ip)))?;
    Some(namespaces.swap_remove(found).0)
}

/// The conflist in effect, as far as the plugin needs it.
struct Network {
    path: PathBuf,
    name: String,
    /// Under which runtimes cache the pods' attachments where the list is a copy in another plugin's.
    outer_name: String,
    entry: Value,
}

impl Network {
    fn read(cni: &CniArgs) -> Result<Self> {
        let found = Self::find(cni)?.context("there is no conflist of a cluster yet")?;
        ensure!(
            found.entry.is_object(),
            "{} does not name the plugin: run `sockway install` first",
            found.path.display()
        );
        Ok(found)
    }

    /// The list, with null for an entry where it has none; `None` where there is no list.
    fn find(cni: &CniArgs) -> Result<Option<Self>> {
        let targets = confdir::targets(cni)?;
        let Some(path) = targets.files.first() else {
            return Ok(None);
        };
        let text = files::read(path)?.text;
        let list = Conflist::parse(&text).map_err(|p| anyhow!("{} {p}", path.display()))?;
        let entry = list.ours().map(|p| p.value.clone()).unwrap_or_default();
        Ok(Some(Self {
            path: path.clone(),
            name: list.name,
            outer_name: list.outer_name,
            entry,
        }))
    }

    fn is(&self, name: &str) -> bool {
        name == self.name || name == self.outer_name
    }

    fn section(&self) -> Section {
        Section::parse_lenient(&self.entry).0
    }

    /// Has the plugin register a pod.
    fn register(&self, cached: &Cached, plugin: &Path, registry: &Registry) -> Result<()> {
        check_addresses(cached)?;
        let mut config = self.entry.clone();
        config["name"] = json!(self.name);
        config["cniVersion"] = cached.result["cniVersion"].clone();
        config["prevResult"] = cached.result.clone();
        // A failure is wanted as one here: no pod waits for the answer.
        config["strict"] = json!(true);
        if let Some(annotations) = cached.capability(ANNOTATIONS_CAPABILITY) {
            config["runtimeConfig"] = json!({ ANNOTATIONS_CAPABILITY: annotations });
        }
        let netns = cached.netns.to_string_lossy();
        let args = cached.args();
        let variables = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", &cached.container_id),
            ("CNI_NETNS", &netns),
            ("CNI_IFNAME", &cached.if_name),
            ("CNI_ARGS", &args),
            ("CNI_PATH", "/"),
        ];
        plugin::call(plugin, &variables, config.to_string().as_bytes())?;
        ensure!(
            registry.sandbox(&cached.owner())?.is_some(),
            "the plugin succeeded, but did not register the pod"
        );
        Ok(())
    }
}

/// A cached address that the namespace does not have is another pod's by now.
fn check_addresses(cached: &Cached) -> Result<()> {
    let there = netns::addresses(&cached.netns)?;
    for address in cached.addresses()? {
        ensure!(
            there.contains(&address),
            "its namespace does not have its address {address}"
        );
    }
    Ok(())
}

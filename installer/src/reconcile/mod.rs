//! Making the registered set equal to the live pods.
//!
//! Pods that are older than the install (or that came back with the node) are
//! found in libcni's result cache and checked against their live namespace.
//! They are registered by the plugin itself, called as the runtime would have
//! called it, so that there is one way in which a pod gets registered.

pub mod cache;
pub mod existing;
pub mod netns;
pub mod plan;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use sockway_common::pod::{OwnerKey, SandboxRow, field_text};
use sockway_datapath::section::ANNOTATIONS_CAPABILITY;
use sockway_datapath::{Pins, Registry};

use crate::conflist::Conflist;
use crate::options::CniArgs;
use crate::{confdir, files, plugin};
use cache::Cached;
use plan::Seen;

/// Where the runtime's own notes on pods are, and what of old pods is brought in.
#[derive(Args, Clone, Debug)]
pub struct SourceArgs {
    /// Also bring in connections that are open already, where both ends can be found on the node.
    /// Needs kernel 6.5 or later and, in a container, hostPID
    #[arg(long, env = "SOCKWAY_EXISTING_CONNECTIONS",
          value_parser = clap::builder::BoolishValueParser::new())]
    pub existing_connections: bool,

    /// Directory of libcni's result cache
    #[arg(
        long,
        value_name = "DIR",
        env = "SOCKWAY_CNI_CACHE_DIR",
        default_value = "/var/lib/cni/results"
    )]
    pub cni_cache_dir: PathBuf,

    /// Directory where the runtime binds pods' network namespaces
    #[arg(
        long,
        value_name = "DIR",
        env = "SOCKWAY_NETNS_DIR",
        default_value = "/run/netns"
    )]
    pub netns_dir: PathBuf,
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
    /// What could not be done, one line each.
    pub failed: Vec<String>,
    /// Connections that were open already; absent where that is not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existing: Option<existing::Report>,
}

/// Registers live pods that have no row and removes rows whose pod is gone.
///
/// `all`: registers pods again that have a row, for settings that changed.
///
/// # Errors
///
/// Where maps, conflist or cache cannot be read. A single pod's failure is in the report.
pub fn run(pins: &Pins, cni: &CniArgs, sources: &SourceArgs, all: bool) -> Result<Report> {
    let mut registry = Registry::open(pins)?;
    let network = Network::read(cni)?;
    let mut report = Report::default();
    let live = live(sources, &network.name)?;
    report.live = live.len();

    let namespaces = netns::inodes(&sources.netns_dir);
    let cached = live
        .iter()
        .map(|(c, inode)| (c.owner(), *inode))
        .collect::<HashMap<_, _>>();
    let seen = Seen { cached, namespaces };
    let now = SystemTime::now();
    let retained = registry.retain(|owner, row| seen.live(owner, row, now))?;
    report.removed = retained.removed.iter().map(|(_, row)| title(row)).collect();
    report.failed = retained.errors.iter().map(ToString::to_string).collect();

    let rows: HashSet<OwnerKey> = if all {
        HashSet::new()
    } else {
        registry
            .sandboxes()?
            .into_iter()
            .map(|(owner, _)| owner)
            .collect()
    };
    let missing: HashSet<OwnerKey> = seen.missing(&rows).collect();
    for (cached, _) in live.iter().filter(|(c, _)| missing.contains(&c.owner())) {
        match network.register(cached, &cni.plugin_path(), &registry) {
            Ok(()) => report.registered.push(cached.title()),
            Err(e) => report.failed.push(format!("{}: {e:#}", cached.title())),
        }
    }
    if sources.existing_connections {
        let paths = live.iter().map(|(cached, _)| cached.netns.as_path());
        let wanted = registry.sandboxes()?.into_iter();
        let wanted = wanted.map(|(_, row)| row.netns_inode);
        let namespaces = netns::open_all(&sources.netns_dir, paths, wanted);
        let existing = existing::run(pins, &namespaces);
        log::info!("connections that were open already: {}", existing.line());
        report.existing = Some(existing);
    }
    Ok(report)
}

fn title(row: &SandboxRow) -> String {
    let (namespace, name) = (field_text(&row.pod_namespace), field_text(&row.pod_name));
    if name.is_empty() {
        return field_text(&row.container_id).to_owned();
    }
    format!("{namespace}/{name}")
}

/// Attachments of the network whose namespace is there, with its inode number.
fn live(sources: &SourceArgs, network: &str) -> Result<Vec<(Cached, u64)>> {
    let SourceArgs {
        cni_cache_dir,
        netns_dir,
        ..
    } = sources;
    let all = cache::read(cni_cache_dir)?;
    let mut all: Vec<_> = all
        .into_iter()
        .filter(|c| c.network_name == network)
        .collect();
    if all.iter().any(|c| c.netns.as_os_str().is_empty()) {
        let namespaces = netns::all(netns_dir);
        for cached in all.iter_mut().filter(|c| c.netns.as_os_str().is_empty()) {
            cached.netns = by_addresses(cached, &namespaces).unwrap_or_default();
        }
    }
    Ok(all
        .into_iter()
        .filter_map(|c| netns::inode(&c.netns).map(|inode| (c, inode)))
        .collect())
}

/// The namespace that has all of the attachment's addresses.
fn by_addresses(cached: &Cached, namespaces: &[(PathBuf, HashSet<IpAddr>)]) -> Option<PathBuf> {
    let addresses = cached.addresses().ok().filter(|ips| !ips.is_empty())?;
    let found = namespaces
        .iter()
        .find(|(_, there)| addresses.iter().all(|ip| there.contains(ip)));
    found.map(|(path, _)| path.clone())
}

/// The conflist in effect, as far as the plugin needs it.
struct Network {
    name: String,
    entry: Value,
}

impl Network {
    fn read(cni: &CniArgs) -> Result<Self> {
        let targets = confdir::targets(&cni.cni_conf_dir, cni.conf_name())?;
        let path = targets.first().context("there is no conflist")?;
        let text = files::read(path)?.text;
        let list = Conflist::parse(&text).map_err(|p| anyhow!("{} {p}", path.display()))?;
        let entry = list.ours().map(|p| p.value.clone()).with_context(|| {
            format!(
                "{} does not name the plugin: run `sockway install` first",
                path.display()
            )
        })?;
        Ok(Self {
            name: list.name,
            entry,
        })
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

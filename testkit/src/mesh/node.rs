//! A node of its own: a network namespace with a bridge, CNI directories, a
//! cgroup, and Sockway installed into all of them.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sockway_datapath::Pins;

use super::scratch::{self, Scratch};
use super::tools::Tools;
use crate::command::{Ended, Run};
use crate::place::{Place, directories};

/// The conflist's file.
pub const CONFLIST: &str = "10-e2e.conflist";
/// Pods' addresses.
const SUBNETS: [&str; 2] = ["10.77.0.0/16", "fd77::/64"];
const BRIDGE: &str = "cni0";
/// What pods get as TCP settings, so that hundreds of thousands of
/// connections do not run out of local ports.
const SYSCTLS: [(&str, &str); 3] = [
    ("net.ipv4.tcp_tw_reuse", "1"),
    // With a tab, as the kernel prints it and the tuning plugin's CHECK compares it.
    ("net.ipv4.ip_local_port_range", "16000\t65000"),
    ("net.ipv4.tcp_fin_timeout", "2"),
];

/// A node; removed on drop.
#[derive(Debug)]
pub struct Node {
    /// Programs from outside.
    pub tools: Tools,
    /// Its directory and names.
    pub scratch: Scratch,
}

/// What one attachment's ADD gave.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Path of the pod's network namespace.
    pub netns: PathBuf,
    /// Its IPv4 and IPv6 address.
    pub ips: [IpAddr; 2],
    /// The chain's result.
    pub result: Value,
}

impl Node {
    /// A node with a plain conflist, without Sockway.
    pub fn new(tools: &Tools) -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let scratch = Scratch::new(COUNTER.fetch_add(1, Ordering::Relaxed))?;
        let node = Self {
            tools: tools.clone(),
            scratch,
        };
        for plugin in fs::read_dir(&node.tools.plugins).context("list the CNI plugins")? {
            let plugin = plugin?;
            let link = node.scratch.path("bin").join(plugin.file_name());
            symlink(plugin.path(), &link).with_context(|| format!("create {}", link.display()))?;
        }
        let name = node.scratch.netns("node");
        Run::new("ip").args(["netns", "add", &name]).done()?;
        let lo = ["link", "set", "lo", "up"];
        Run::new("ip").args(lo).at(&node.place())?.done()?;
        node.write_conflist(&node.conflist())?;
        Ok(node)
    }

    /// The node's own network namespace.
    pub fn place(&self) -> Place {
        Place::netns(&netns_path(&self.scratch.netns("node")))
    }

    /// The chain as it is before Sockway comes.
    pub fn conflist(&self) -> Value {
        let sysctl: serde_json::Map<_, _> = SYSCTLS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        json!({
            "cniVersion": "1.0.0",
            "name": self.scratch.name(),
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": BRIDGE,
                    "isDefaultGateway": true,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{ "subnet": SUBNETS[0] }], [{ "subnet": SUBNETS[1] }]],
                        "dataDir": self.scratch.path("ipam"),
                    },
                },
                { "type": "tuning", "sysctl": sysctl },
            ],
        })
    }

    /// The conflist's path.
    pub fn conflist_path(&self) -> PathBuf {
        self.scratch.path("net.d").join(CONFLIST)
    }

    /// Replaces the conflist.
    pub fn write_conflist(&self, conflist: &Value) -> Result<()> {
        let path = self.conflist_path();
        let text = serde_json::to_string_pretty(conflist)?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// The conflist as it is now.
    pub fn read_conflist(&self) -> Result<Value> {
        let path = self.conflist_path();
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))
    }

    /// Where the maps are pinned.
    pub fn pins(&self) -> Pins {
        Pins::new(self.bpffs())
    }

    /// The directory that `sockway --bpffs` gets.
    pub fn bpffs(&self) -> PathBuf {
        self.scratch.path("bpf").join("sockway")
    }

    /// A `sockway` command with this node's directories.
    pub fn sockway(&self, args: &[&str]) -> Run {
        self.sockway_at(&self.tools.sockway, args)
    }

    /// The same with another binary.
    pub fn sockway_at(&self, binary: &Path, args: &[&str]) -> Run {
        let log = self.scratch.path("logs").join("sockway-cni.log");
        let bare = Run::new(binary).args(args).without_env("SOCKWAY_");
        directories(&self.scratch.path(""), &self.scratch.cgroup(), &log)
            .into_iter()
            .fold(bare, |run, (name, value)| run.env(name, value))
    }

    /// `sockway install` into this node.
    pub fn install(&self) -> Result<String> {
        self.sockway(&["install"]).output()
    }

    /// `sockway uninstall` from this node.
    pub fn uninstall(&self) -> Result<String> {
        self.sockway(&["uninstall"]).output()
    }

    /// `sockway status -o json`.
    pub fn status(&self) -> Result<Value> {
        self.json(&["status"])
    }

    /// What a `sockway` command says with `-o json`.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.sockway(args).args(["-o", "json"]).output()?;
        serde_json::from_str(&text).with_context(|| format!("sockway {args:?} said {text:?}"))
    }

    /// One CNI verb on a pod's network namespace, whatever comes of it.
    pub fn cni(&self, verb: &str, netns: &Path) -> Result<Ended> {
        Run::new(&self.tools.cnitool)
            .args([verb, self.scratch.name()])
            .arg(netns)
            .env("NETCONFPATH", self.scratch.path("net.d"))
            .env("CNI_PATH", self.scratch.path("bin"))
            .at(&self.place())?
            .ended()
    }

    /// Makes a network namespace for a pod.
    pub fn make_netns(&self, name: &str) -> Result<PathBuf> {
        let name = self.scratch.netns(name);
        Run::new("ip").args(["netns", "add", &name]).done()?;
        let path = netns_path(&name);
        Run::new("ip")
            .args(["link", "set", "lo", "up"])
            .at(&Place::netns(&path))?
            .done()?;
        Ok(path)
    }

    /// Removes a pod's network namespace.
    pub fn remove_netns(&self, name: &str) -> Result<()> {
        Run::new("ip")
            .args(["netns", "delete", &self.scratch.netns(name)])
            .done()
    }

    /// ADD.
    pub fn add(&self, netns: &Path) -> Result<Attachment> {
        let stdout = self.cni_done("add", netns)?;
        let result: Value = serde_json::from_str(&stdout)
            .with_context(|| format!("parse the result {stdout:?}"))?;
        let ips = result["ips"].as_array().into_iter().flatten();
        let ips: Vec<IpAddr> = ips
            .filter_map(|ip| ip["address"].as_str()?.split('/').next()?.parse().ok())
            .collect();
        let v4 = ips.iter().find(|ip| ip.is_ipv4());
        let v6 = ips.iter().find(|ip| ip.is_ipv6());
        let (Some(v4), Some(v6)) = (v4, v6) else {
            bail!("the chain gave {ips:?}, not one address of each family: {stdout}");
        };
        Ok(Attachment {
            netns: netns.to_owned(),
            ips: [*v4, *v6],
            result,
        })
    }

    /// Lets the next pod have the address that was given back last: host-local
    /// goes on from the last one it gave out.
    pub fn reuse_addresses(&self) -> Result<()> {
        for last in scratch::children_with_prefix(&self.leases(), "last_reserved_ip") {
            fs::remove_file(&last).with_context(|| format!("remove {}", last.display()))?;
        }
        Ok(())
    }

    /// Where host-local keeps whom it gave which address.
    pub fn leases(&self) -> PathBuf {
        self.scratch.path("ipam").join(self.scratch.name())
    }

    /// DEL.
    pub fn del(&self, netns: &Path) -> Result<()> {
        self.cni_done("del", netns).map(drop)
    }

    /// What a verb that has to succeed printed.
    fn cni_done(&self, verb: &str, netns: &Path) -> Result<String> {
        let Ended {
            code,
            stdout,
            stderr,
        } = self.cni(verb, netns)?;
        if code != Some(0) {
            bail!(
                "cnitool {verb} {}: {} {}",
                netns.display(),
                stdout.trim(),
                stderr.trim()
            );
        }
        Ok(stdout)
    }
}

/// Where `ip netns` keeps a name.
fn netns_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

//! The chains that the plugin stands in.

mod kind;

pub(crate) use kind::{Families, Kind};

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::node::Node;

/// Versions of the specification, ascending.
pub(crate) const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// The name under which terway's daemon writes its list.
const TERWAY: &str = "terway-chainer";

/// A conflist in a directory of its own.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// The network's name.
    pub(crate) network: String,
    pub(crate) version: &'static str,
    /// Directory that holds the conflist and nothing else.
    pub(crate) dir: PathBuf,
    /// The conflist.
    pub(crate) file: PathBuf,
    /// The log of our plugin.
    pub(crate) log: PathBuf,
    plugins: Vec<Value>,
}

impl Chain {
    /// Ours behind and before reference plugins.
    pub(crate) fn reference(
        node: &Node,
        kind: Kind,
        families: Families,
        version: &'static str,
    ) -> Result<Self> {
        let number = next();
        let ipam = ipam(node, number, families);
        let bridge = json!({
            "type": "bridge", "bridge": format!("br{number}"), "isGateway": true, "ipam": ipam,
        });
        let build = |ours: Value| match kind {
            Kind::Bridge => vec![bridge, ours],
            Kind::PtpPortmap => vec![
                json!({ "type": "ptp", "ipam": ipam }),
                ours,
                json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": false }),
            ],
            Kind::BridgeTuningBandwidth => vec![
                bridge,
                json!({ "type": "tuning", "sysctl": { "net.ipv4.tcp_fin_timeout": "7" } }),
                ours,
                json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } }),
            ],
        };
        Self::new(node, number, &format!("net{number}"), version, build)
    }

    /// Ours between terway and what terway appends.
    pub(crate) fn terway(
        node: &Node,
        families: Families,
        version: &'static str,
        answers: &str,
        cilium: bool,
    ) -> Result<Self> {
        let number = next();
        let terway = terway(node, number, families, answers);
        let build = |ours: Value| {
            let mut plugins = vec![terway, ours];
            if cilium {
                plugins.push(json!({ "type": "cilium-cni", "enable-debug": false }));
            }
            plugins
        };
        Self::new(node, number, TERWAY, version, build)
    }

    /// As it is in a file that something else wrote.
    pub(crate) fn of_file(path: &Path, log: &Path, list: &Value) -> Result<Self> {
        let version = VERSIONS
            .into_iter()
            .find(|version| list["cniVersion"] == *version);
        Ok(Self {
            network: list["name"]
                .as_str()
                .context("the list has no name")?
                .to_owned(),
            version: version.context("the list's version is not known")?,
            dir: path.parent().context("a directory")?.to_owned(),
            file: path.to_owned(),
            log: log.to_owned(),
            plugins: list["plugins"]
                .as_array()
                .context("the list has no plugins")?
                .clone(),
        })
    }

    fn new(
        node: &Node,
        number: u32,
        network: &str,
        version: &'static str,
        build: impl FnOnce(Value) -> Vec<Value>,
    ) -> Result<Self> {
        let dir = node.path("cases").join(number.to_string());
        let (conf, log) = (dir.join("net.d"), dir.join("sockway-cni.log"));
        fs::create_dir_all(&conf).with_context(|| format!("create {}", conf.display()))?;
        let chain = Self {
            network: network.to_owned(),
            version,
            file: conf.join("10-chain.conflist"),
            dir: conf,
            plugins: build(node.section(&log)),
            log,
        };
        chain.write()?;
        Ok(chain)
    }

    /// The same chain where what cannot be registered fails.
    pub(crate) fn strict(mut self) -> Result<Self> {
        let ours = self
            .plugins
            .iter_mut()
            .find(|plugin| plugin["type"] == "sockway-cni");
        ours.context("our entry is not in the chain")?["strict"] = json!(true);
        self.write()?;
        Ok(self)
    }

    fn write(&self) -> Result<()> {
        let Self {
            network,
            version,
            dir: _,
            file,
            log: _,
            plugins,
        } = self;
        let list = json!({ "cniVersion": version, "name": network, "plugins": plugins });
        fs::write(file, serde_json::to_string_pretty(&list)?)
            .with_context(|| format!("write {}", file.display()))
    }

    /// Our entry as libcni hands it over, still without what depends on the verb.
    pub(crate) fn ours(&self) -> Result<Value> {
        let ours = self
            .plugins
            .iter()
            .find(|plugin| plugin["type"] == "sockway-cni");
        let mut conf = ours.context("our entry is not in the chain")?.clone();
        conf["cniVersion"] = json!(self.version);
        conf["name"] = json!(self.network);
        Ok(conf)
    }

    /// How many calls of a verb our plugin has logged.
    pub(crate) fn logged(&self, verb: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let mark = format!("] {verb} ");
        log.lines()
            .filter(|line| line.contains(&mark) && line.contains(" ms="))
            .count()
    }
}

/// terway's own entry, with the keys that its daemon writes and those of the test.
pub(crate) fn terway(node: &Node, number: u32, families: Families, answers: &str) -> Value {
    json!({
        "type": "terway",
        "capabilities": { "bandwidth": true },
        "eniip_virtual_type": "veth",
        "bandwidth_mode": "tc",
        "mtu": 1500,
        "testState": node.path("cases").join(format!("{number}/terway")),
        "testAnswers": answers,
        "testFamilies": families.name(),
    })
}

fn ipam(node: &Node, number: u32, families: Families) -> Value {
    let (v4, v6) = (
        json!([{ "subnet": format!("10.{}.0.0/16", 70 + number % 180) }]),
        json!([{ "subnet": format!("fd70:{number:x}::/64") }]),
    );
    let ranges = match families {
        Families::V4 => json!([v4]),
        Families::V6 => json!([v6]),
        Families::Dual => json!([v4, v6]),
    };
    json!({ "type": "host-local", "dataDir": node.path("cases").join(format!("{number}/ipam")), "ranges": ranges })
}

fn next() -> u32 {
    static COUNTER: AtomicU32 = AtomicU32::new(1);
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

//! libcni's result cache: what the runtime's own ADD calls came to.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};
use sockway_common::pod::OwnerKey;

use crate::sys::files;

/// One attachment as libcni noted it. Written only after every plugin had succeeded.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cached {
    kind: String,
    /// CNI container id.
    pub container_id: String,
    /// CNI interface name.
    pub if_name: String,
    /// Name of the conflist.
    pub network_name: String,
    /// Path of the network namespace; empty in files of libcni before 1.2,
    /// which containerd 1.x has.
    #[serde(default)]
    pub netns: PathBuf,
    #[serde(default)]
    cni_args: Option<Vec<[String; 2]>>,
    #[serde(default)]
    capability_args: Option<Map<String, Value>>,
    /// What the last plugin printed: the pod's addresses.
    #[serde(default)]
    pub result: Value,
    /// When the file was written.
    #[serde(skip)]
    pub noted: Option<SystemTime>,
}

impl Cached {
    /// Reads one file of the cache.
    ///
    /// # Errors
    ///
    /// Where it is not JSON of libcni's shape.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The key of the attachment's row.
    pub fn owner(&self) -> OwnerKey {
        OwnerKey::new(&self.container_id, &self.if_name)
    }

    /// The addresses that the chain gave.
    ///
    /// # Errors
    ///
    /// Where one is none.
    pub fn addresses(&self) -> Result<Vec<IpAddr>> {
        let ips = self.result["ips"].as_array().into_iter().flatten();
        ips.map(|ip| {
            let address = ip["address"].as_str().unwrap_or_default();
            let parsed = address.split('/').next().and_then(|a| a.parse().ok());
            parsed.with_context(|| format!("the cached address {address:?} is none"))
        })
        .collect()
    }

    /// `CNI_ARGS` as the runtime gave them.
    pub fn args(&self) -> String {
        let pairs = self
            .cni_args
            .iter()
            .flatten()
            .map(|[k, v]| format!("{k}={v}"));
        pairs.collect::<Vec<_>>().join(";")
    }

    /// What the runtime gave under a capability; it notes more than any plugin asked for.
    pub fn capability(&self, name: &str) -> Option<&Value> {
        self.capability_args.as_ref()?.get(name)
    }

    /// `namespace/name` of the pod, or the container id.
    pub fn title(&self) -> String {
        let arg = |key: &str| {
            self.cni_args
                .iter()
                .flatten()
                .find(|[k, _]| k == key)
                .map(|[_, v]| v.as_str())
        };
        match (arg("K8S_POD_NAMESPACE"), arg("K8S_POD_NAME")) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            _ => self.container_id.clone(),
        }
    }
}

/// Reads the caches. Files that are empty, half-written or of the old format
/// (libcni writes in place) say nothing and are left out; a cache that is not
/// there holds nothing.
///
/// # Errors
///
/// Where a directory cannot be read.
pub fn read(directories: &[PathBuf]) -> Result<Vec<Cached>> {
    let mut all = Vec::new();
    for directory in directories {
        add(directory, &mut all)?;
    }
    all.sort_by(|a, b| (&a.container_id, &a.if_name).cmp(&(&b.container_id, &b.if_name)));
    Ok(all)
}

fn add(directory: &Path, all: &mut Vec<Cached>) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", directory.display())),
    };
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read {}", directory.display()))?
            .path();
        match parse(&path) {
            Ok(cached) if cached.kind == "cniCacheV1" => all.push(cached),
            Ok(cached) => log::debug!("{} is of kind {:?}", path.display(), cached.kind),
            Err(e) => log::debug!("left out: {e:#}"),
        }
    }
    Ok(())
}

fn parse(path: &Path) -> Result<Cached> {
    let text = files::read(path)?.text;
    let mut cached =
        Cached::parse(&text).with_context(|| format!("{} cannot be used", path.display()))?;
    cached.noted = fs::metadata(path).and_then(|m| m.modified()).ok();
    Ok(cached)
}

#[cfg(test)]
mod tests {
    use super::read;
    use std::fs;

    const FILE: &str = r#"{"kind":"cniCacheV1","containerId":"abc","config":"e30=","ifName":"eth0",
        "networkName":"terway-chainer","netns":"/run/netns/cni-1",
        "cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","cart-0"]],
        "capabilityArgs":{"io.kubernetes.cri.pod-annotations":{"a":"b"},"portMappings":[]},
        "result":{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.1/24"}]}}"#;

    #[test]
    fn an_attachment() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("terway-chainer-abc-eth0"), FILE).unwrap();
        fs::write(dir.path().join("empty"), "").unwrap();
        fs::write(dir.path().join("half"), &FILE[..80]).unwrap();
        fs::write(dir.path().join("old"), r#"{"cniVersion":"0.4.0","ips":[]}"#).unwrap();
        let other = dir.path().join("none");
        let all = read(&[dir.path().to_owned(), other]).unwrap();
        assert_eq!(all.len(), 1);
        let cached = &all[0];
        assert_eq!(cached.title(), "shop/cart-0");
        assert_eq!(
            cached.args(),
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0"
        );
        assert_eq!(
            cached
                .capability("io.kubernetes.cri.pod-annotations")
                .unwrap()["a"],
            "b"
        );
        assert_eq!(
            cached.addresses().unwrap(),
            ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]
        );
        assert!(read(&["/proc/none".into()]).unwrap().is_empty());
    }
}

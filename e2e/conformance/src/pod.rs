//! A pod: a network namespace and the names that a runtime calls it by.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use sockway_testkit::command::Run;
use sockway_testkit::command::ip;

/// Where `ip netns` keeps names.
const NETNS: &str = "/run/netns";

/// A pod; its namespace goes on drop.
#[derive(Debug)]
pub(crate) struct Pod {
    /// The runtime's name for the container.
    pub(crate) container: String,
    /// Path of the namespace, or of where it was.
    pub(crate) netns: PathBuf,
    /// The interface.
    pub(crate) ifname: String,
    /// The pod's name in Kubernetes, in namespace `shop`.
    pub(crate) name: String,
    /// Whether the namespace is to be removed.
    owned: bool,
}

impl Pod {
    /// A pod with an empty namespace of its own.
    pub(crate) fn new() -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pod-{number}");
        ip(&format!("netns add {name}"))?;
        let netns = Path::new(NETNS).join(&name);
        let container = format!("Container-{number}.a_b");
        Ok(Self {
            container,
            netns,
            ifname: "eth0".to_owned(),
            name,
            owned: true,
        })
    }

    /// The same pod, by another of its interfaces.
    pub(crate) fn by(&self, ifname: &str) -> Self {
        let Self {
            container,
            netns,
            ifname: _,
            name,
            owned: _,
        } = self;
        Self {
            container: container.clone(),
            netns: netns.clone(),
            ifname: ifname.to_owned(),
            name: name.clone(),
            owned: false,
        }
    }

    /// The same attachment, as a runtime calls it that has no namespace for it any more.
    pub(crate) fn without_netns(&self) -> Self {
        let mut pod = self.by(&self.ifname);
        pod.netns = PathBuf::new();
        pod
    }

    /// `CNI_ARGS` as containerd and CRI-O set them.
    pub(crate) fn args(&self) -> [(&'static str, String); 4] {
        [
            ("K8S_POD_NAME", self.name.clone()),
            ("IgnoreUnknown", "1".to_owned()),
            ("K8S_POD_INFRA_CONTAINER_ID", self.container.clone()),
            ("K8S_POD_NAMESPACE", "shop".to_owned()),
        ]
    }

    /// An interface with these addresses, where no plugin makes one.
    pub(crate) fn wire(&self, ips: &[IpAddr]) -> Result<()> {
        self.ip(&format!(
            "link add {} type veth peer name peer0",
            self.ifname
        ))?;
        for address in ips {
            let nodad = if address.is_ipv6() { " nodad" } else { "" };
            self.ip(&format!("address add {address} dev {}{nodad}", self.ifname))?;
        }
        self.ip(&format!("link set {} up", self.ifname))
    }

    /// `ip` inside.
    pub(crate) fn ip(&self, args: &str) -> Result<()> {
        Run::new("ip")
            .args(["-netns", &self.name])
            .args(args.split(' '))
            .done()
    }

    /// What `ip` inside prints.
    pub(crate) fn ip_output(&self, args: &str) -> Result<String> {
        Run::new("ip")
            .args(["-netns", &self.name])
            .args(args.split(' '))
            .output()
    }

    /// Removes the namespace, as a reboot or a broken runtime does; the path stays known.
    pub(crate) fn vanish(&mut self) -> Result<()> {
        self.owned = false;
        ip(&format!("netns delete {}", self.name))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if self.owned
            && let Err(error) = ip(&format!("netns delete {}", self.name))
        {
            eprintln!("sockway-conformance: clean-up: {error:#}");
        }
    }
}

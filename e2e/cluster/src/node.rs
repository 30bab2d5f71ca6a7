//! What makes the namespaces a node of a cluster: certificates, control plane,
//! runtime, kubelet, proxy, DNS.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::images;
use crate::kubectl::Kubectl;
use crate::launch;
use crate::place::{NODE, NODE_IP, POD_CIDR, SERVICE_CIDR};
use crate::run::{Hopeless, Run, until};
use crate::templates::{common, fill};

const SOON: Duration = Duration::from_mins(2);

/// Who talks to the API server: name, user, group.
const USERS: [(&str, &str, &str); 5] = [
    ("admin", "admin", "system:masters"),
    ("kubelet", "system:node:node1", "system:nodes"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("proxy", "system:kube-proxy", ""),
];

/// Kernel settings of the whole machine that a kubelet changes where they are not
/// as it wants them: it is shown files that are.
const TUNABLES: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// The node of a cluster.
pub(crate) struct Node<'a>(pub(crate) &'a Kubectl);

impl Node<'_> {
    /// Writes every file, for the first start.
    pub(crate) fn prepare(&self) -> Result<()> {
        let place = self.0.space.place();
        let (mut tokens, ca) = (String::new(), place.path("kube/certs/apiserver.crt"));
        for (name, user, group) in USERS {
            let token = token()?;
            writeln!(tokens, "{token},{user},{name},\"{group}\"").context("a line")?;
            let values = BTreeMap::from([
                ("CA", ca.display().to_string()),
                ("TOKEN", token),
                ("SERVER", format!("https://{NODE_IP}:6443")),
            ]);
            place.write(
                &format!("kube/{name}.conf"),
                &fill(include_str!("../manifests/kubeconfig.yaml"), &values),
            )?;
        }
        place.write("kube/tokens.csv", &tokens)?;
        let key = place.path("kube/sa.key");
        Run::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-out"])
            .arg(&key)
            .done()?;
        Run::new("openssl")
            .args(["pkey", "-pubout", "-in"])
            .arg(&key)
            .arg("-out")
            .arg(place.path("kube/sa.pub"))
            .done()?;
        place.write(
            "kube/containerd.toml",
            include_str!("../manifests/containerd.toml"),
        )?;
        let resolv = place.write("kube/resolv.conf", "nameserver 127.0.0.1\n")?;
        let kubelet = common(include_str!("../manifests/kubelet.yaml"))
            .replace("@RESOLV_CONF@", &resolv.display().to_string());
        place.write("kube/kubelet.yaml", &kubelet)?;
        let proxy = common(include_str!("../manifests/kube-proxy.yaml")).replace(
            "@KUBECONFIG@",
            &place.path("kube/proxy.conf").display().to_string(),
        );
        place.write("kube/kube-proxy.yaml", &proxy)?;
        self.plugins()?;
        self.tunables()
    }

    /// The reference plugins, and a list with one that makes pods' interfaces.
    fn plugins(&self) -> Result<()> {
        let from = self.0.parts.cni_plugins.display().to_string();
        let list = include_str!("../manifests/10-node.conflist").replace("@POD_CIDR@", POD_CIDR);
        let script = format!(
            "set -e; for name in ptp bridge host-local loopback portmap; do install -m 755 {from}/$name /opt/cni/bin/; done
            cat >/etc/cni/net.d/.new; mv /etc/cni/net.d/.new /etc/cni/net.d/10-node.conflist"
        );
        self.0
            .space
            .run("sh")
            .args(["-c", &script])
            .input(list)
            .done()
    }

    fn tunables(&self) -> Result<()> {
        for (name, value) in TUNABLES {
            let shown = self
                .0
                .space
                .place()
                .write(&format!("kube/sys/{name}"), &format!("{value}\n"))?;
            self.0
                .space
                .run("mount")
                .arg("--bind")
                .arg(shown)
                .arg(format!("/proc/sys/{name}"))
                .done()?;
        }
        Ok(())
    }

    /// Starts everything that is not a pod.
    pub(crate) fn start(&self) -> Result<()> {
        self.control_plane()?;
        self.containerd()?;
        self.kubelet()?;
        self.proxy()
    }

    fn control_plane(&self) -> Result<()> {
        let (space, parts) = (&self.0.space, &self.0.parts);
        let kube = |name: &str| {
            space
                .place()
                .path(&format!("kube/{name}"))
                .display()
                .to_string()
        };
        launch::start(
            space,
            "etcd",
            &parts.kubernetes("etcd"),
            [
                "--data-dir=/var/lib/etcd",
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--listen-peer-urls=http://127.0.0.1:2380",
                "--initial-advertise-peer-urls=http://127.0.0.1:2380",
                "--initial-cluster=default=http://127.0.0.1:2380",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )?;
        launch::start(
            space,
            "kube-apiserver",
            &parts.kubernetes("kube-apiserver"),
            [
                "--etcd-servers=http://127.0.0.1:2379".to_owned(),
                format!("--advertise-address={NODE_IP}"),
                format!("--cert-dir={}", kube("certs")),
                format!("--service-cluster-ip-range={SERVICE_CIDR}"),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--service-account-key-file={}", kube("sa.pub")),
                format!("--service-account-signing-key-file={}", kube("sa.key")),
                "--authorization-mode=Node,RBAC".to_owned(),
                "--enable-admission-plugins=NodeRestriction".to_owned(),
                format!("--token-auth-file={}", kube("tokens.csv")),
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
                "--allow-privileged=true".to_owned(),
            ],
        )?;
        until("the API server", SOON, || {
            if !launch::running(space, "kube-apiserver") || !launch::running(space, "etcd") {
                let tails = ["etcd", "kube-apiserver"].map(|name| launch::tail(space, name));
                return Err(Hopeless(format!("etcd or it has ended: {}", tails.concat())).into());
            }
            self.0.line("get --raw /readyz").done()
        })?;
        launch::start(
            space,
            "kube-controller-manager",
            &parts.kubernetes("kube-controller-manager"),
            [
                format!("--kubeconfig={}", kube("controller-manager.conf")),
                format!("--service-account-private-key-file={}", kube("sa.key")),
                format!("--root-ca-file={}", kube("certs/apiserver.crt")),
                "--use-service-account-credentials=true".to_owned(),
                "--leader-elect=false".to_owned(),
                "--bind-address=127.0.0.1".to_owned(),
            ],
        )?;
        launch::start(
            space,
            "kube-scheduler",
            &parts.kubernetes("kube-scheduler"),
            [
                format!("--kubeconfig={}", kube("scheduler.conf")),
                "--leader-elect=false".to_owned(),
                "--bind-address=127.0.0.1".to_owned(),
            ],
        )
    }

    /// Starts containerd and waits until it serves.
    pub(crate) fn containerd(&self) -> Result<()> {
        let space = &self.0.space;
        let config = space.place().path("kube/containerd.toml");
        launch::start(
            space,
            "containerd",
            &PathBuf::from("containerd"),
            ["--config".as_ref(), config.as_os_str()],
        )?;
        until("containerd", SOON, || {
            space.run("ctr").arg("version").done()
        })
    }

    /// Starts the kubelet.
    pub(crate) fn kubelet(&self) -> Result<()> {
        let (space, parts) = (&self.0.space, &self.0.parts);
        let kube = |name: &str| {
            space
                .place()
                .path(&format!("kube/{name}"))
                .display()
                .to_string()
        };
        launch::start(
            space,
            "kubelet",
            &parts.kubernetes("kubelet"),
            [
                format!("--config={}", kube("kubelet.yaml")),
                format!("--kubeconfig={}", kube("kubelet.conf")),
                format!("--hostname-override={NODE}"),
                format!("--node-ip={NODE_IP}"),
            ],
        )
    }

    fn proxy(&self) -> Result<()> {
        let (space, parts) = (&self.0.space, &self.0.parts);
        launch::start(
            space,
            "kube-proxy",
            &parts.kubernetes("kube-proxy"),
            [format!(
                "--config={}",
                space.place().path("kube/kube-proxy.yaml").display()
            )],
        )
    }

    /// Waits until the node takes pods.
    pub(crate) fn ready(&self) -> Result<()> {
        until("the node", SOON, || {
            let node = self.0.json(&format!("get node {NODE}"))?;
            let conditions = node["status"]["conditions"]
                .as_array()
                .context("no conditions")?;
            let ready = conditions
                .iter()
                .find(|one| one["type"] == "Ready")
                .context("no word")?;
            if ready["status"] != "True" {
                bail!(
                    "{}; the kubelet says: {}",
                    ready["message"],
                    launch::tail(&self.0.space, "kubelet")
                );
            }
            Ok(())
        })
    }

    /// Images and DNS, for the first start.
    pub(crate) fn furnish(&self) -> Result<()> {
        images::import_all(&self.0.space, &self.0.parts)?;
        self.0
            .apply(&common(include_str!("../manifests/coredns.yaml")))?;
        self.0.rolled_out("kube-system", "deployment/coredns", SOON)
    }
}

fn token() -> Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid").context("no random number")?;
    Ok(text.trim().to_owned())
}

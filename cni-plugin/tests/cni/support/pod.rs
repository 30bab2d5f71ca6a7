//! A pod's network namespace, and a node's pinned maps. Needs root and `ip`.

use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};
use sockway_common::layout::program;
use sockway_datapath::registry::{create_pods, ensure_sandboxes};
use sockway_datapath::{Pins, Registry};

/// A network namespace that lives as long as this.
#[derive(Debug)]
pub(crate) struct PodNetns(File);

impl PodNetns {
    /// Makes one, with an interface `eth0` that has these addresses.
    pub(crate) fn with(addresses: &[&str]) -> Self {
        std::thread::scope(|scope| {
            let made = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("unshare the network namespace");
                ip(&[
                    "link", "add", "eth0", "type", "veth", "peer", "name", "peer0",
                ]);
                for address in addresses {
                    let nodad = if address.contains(':') {
                        &["nodad"][..]
                    } else {
                        &[]
                    };
                    ip(&[&["address", "add", address, "dev", "eth0"], nodad].concat());
                }
                ip(&["link", "set", "eth0", "up"]);
                File::open("/proc/thread-self/ns/net").expect("open the namespace")
            });
            Self(made.join().expect("the thread that makes the namespace"))
        })
    }

    /// Gives `eth0` one more address.
    pub(crate) fn add_address(&self, address: &str) {
        std::thread::scope(|scope| {
            let added = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                ip(&["address", "add", address, "dev", "eth0", "nodad"]);
            });
            added.join().expect("the thread in the namespace");
        });
    }

    /// A path by which other processes find it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Its inode number.
    pub(crate) fn inode(&self) -> u64 {
        self.0.metadata().expect("stat the namespace").ino()
    }
}

fn ip(args: &[&str]) {
    let output = Command::new("ip")
        .args(args)
        .output()
        .expect("run ip (package iproute2)");
    assert!(output.status.success(), "ip {args:?}: {output:?}");
}

/// Pins the maps that the plugin uses, as the installer does.
pub(crate) fn pin_maps(bpffs: &Path) -> Pins {
    let pins = Pins::new(bpffs.join("sockway"));
    fs::create_dir_all(pins.dir()).expect("make the pin directory");
    fs::set_permissions(pins.dir(), Permissions::from_mode(0o700)).expect("chmod it");
    create_pods(&pins).expect("pin pods");
    ensure_sandboxes(&pins).expect("pin sandboxes");
    sockway_datapath::calls::ensure(&pins).expect("pin calls");
    pins
}

/// Stands where the installer pins the link of the `sock_ops` program: STATUS
/// only asks whether something is there.
pub(crate) fn pin_link(pins: &Pins) {
    fs::create_dir(pins.link(program::ESTABLISH)).expect("make the link's place");
}

/// The rows as text, in order: `address owner-container out/in scope`.
pub(crate) fn rows(pins: &Pins) -> Vec<String> {
    let registry = Registry::open(pins).expect("open the maps");
    let pods = registry.pods().expect("list the pods");
    let text = |field: &[u8]| sockway_common::pod::field_text(field).to_owned();
    pods.iter()
        .map(|(ip, row)| {
            let sandbox = registry.sandbox(&row.owner).expect("look the sandbox up");
            let who = sandbox.map_or("?".to_owned(), |row| text(&row.container_id));
            let scope = sockway_common::scope::name(row.scope);
            format!(
                "{ip} {who} {}/{} {scope}",
                row.outbound_port, row.inbound_port
            )
        })
        .collect()
}

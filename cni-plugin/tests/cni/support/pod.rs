//! A pod's network namespace, and a node's pinned maps. Needs root and `ip`.

use std::fs;
use std::path::Path;

use sockway_common::layout::program;
use sockway_datapath::Pins;
use sockway_testkit::command::ip;
use sockway_testkit::netns::Netns;
use sockway_testkit::rows::{self, Row};

/// A network namespace that lives as long as this.
#[derive(Debug)]
pub(crate) struct PodNetns(Netns);

impl PodNetns {
    /// Makes one, with an interface `eth0` that has these addresses.
    pub(crate) fn with(addresses: &[&str]) -> Self {
        let wire = || {
            ip("link add eth0 type veth peer name peer0")?;
            for address in addresses {
                ip(&format!("address add {address} dev eth0 nodad"))?;
            }
            ip("link set eth0 up")
        };
        Self(Netns::new(wire).expect("make the namespace"))
    }

    /// Gives `eth0` one more address.
    pub(crate) fn add_address(&self, address: &str) {
        let add = || ip(&format!("address add {address} dev eth0 nodad"));
        self.0.within(add).expect("add the address");
    }

    /// A path by which other processes find it.
    pub(crate) fn path(&self) -> String {
        self.0.path()
    }

    /// Its inode number.
    pub(crate) fn inode(&self) -> u64 {
        self.0.inode().expect("stat the namespace")
    }
}

/// Pins the maps that the plugin uses, as the installer does.
pub(crate) fn pin_maps(bpffs: &Path) -> Pins {
    rows::pin_maps(&bpffs.join("sockway")).expect("pin the maps")
}

/// Stands where the installer pins the link of the `sock_ops` program: STATUS
/// only asks whether something is there.
pub(crate) fn pin_link(pins: &Pins) {
    fs::create_dir(pins.link(program::ESTABLISH)).expect("make the link's place");
}

/// The rows as text, in order: `address owner-container out/in scope`.
pub(crate) fn rows(pins: &Pins) -> Vec<String> {
    let rows = rows::list(pins).expect("list the pods");
    rows.iter().map(Row::to_string).collect()
}

//! A pod with a network namespace of its own, as a runtime makes one.

use std::fs::{self, File};
use std::path::PathBuf;

use nix::mount::{MsFlags, mount};
use sockway_testkit::bpffs::unmount;
use sockway_testkit::command::ip;
use sockway_testkit::netns::Netns;

use super::node::{Attachment, Node};

const NONE: Option<&str> = None;

/// A live pod. Its namespace lives as long as the file that it is bound to.
pub(crate) struct Pod {
    pub(crate) attachment: Attachment,
    bound: PathBuf,
}

impl Pod {
    /// Makes the namespace; nothing is noted or registered yet.
    pub(crate) fn start(node: &Node, id: &str, address: &str) -> Self {
        let bound = node.path(&format!("netns/{id}"));
        File::create(&bound).unwrap();
        let made = Netns::new(|| ip(&format!("address add {address}/32 dev lo"))).unwrap();
        let path = made.path();
        mount(Some(path.as_str()), &bound, NONE, MsFlags::MS_BIND, NONE).unwrap();
        let attachment = Attachment {
            id: id.to_owned(),
            name: format!("pod-{id}"),
            netns: bound.display().to_string(),
            ip: address.to_owned(),
        };
        Self { attachment, bound }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.bound) {
            eprintln!("{error:#}");
        }
        // The file is in the node's directory, which goes as a whole.
        let _ = fs::remove_file(&self.bound);
    }
}

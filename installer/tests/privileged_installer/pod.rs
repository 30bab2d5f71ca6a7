//! A pod with a network namespace of its own, as a runtime makes one.

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::node::{Attachment, Node, ip, netns};

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
        let (to, with) = (bound.clone(), format!("{address}/32"));
        // The namespace is that of a thread that ends; the mount is seen by all of this test's.
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip(&["address", "add", &with, "dev", "lo"]);
            mount(Some(netns().as_str()), &to, NONE, MsFlags::MS_BIND, NONE).unwrap();
        })
        .join()
        .unwrap();
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
        if let Err(e) = umount2(&self.bound, MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {e}", self.bound.display());
        }
        // The file is in the node's directory, which goes as a whole.
        let _ = fs::remove_file(&self.bound);
    }
}

//! `sockway-conformance containerd`: pods by a real container runtime.

mod daemon;
mod image;
mod killed;
mod life;
mod pods;
mod terway;
mod traffic;

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sockway_testkit::patience::until;

use crate::cri::{Client, Wanted};
use crate::filter::Filter;
use crate::node::Node;
use crate::report::Report;
use crate::tools::Tools;
use crate::world::World;
use daemon::Daemon;

/// The conflist's file; terway's comes before it, where there is one.
const FILE: &str = "20-pods.conflist";
/// How long the runtime may take to notice a new conflist.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node with a runtime.
struct Bed {
    node: Node,
    daemon: RefCell<Daemon>,
    /// Replaced when the runtime is started again.
    client: RefCell<Client>,
}

/// Runs every case that the filter takes.
pub(crate) fn run(
    world: &World,
    tools: &Tools,
    filter: &Filter,
    report: &mut Report,
) -> Result<()> {
    let node = Node::new(world, tools)?;
    let version = daemon::cni_version()?;
    node.install(FILE, &conflist(&node, version))
        .context("sockway install")?;
    let daemon = Daemon::start(&node)?;
    let client = daemon.client()?;
    println!(
        "{}, a list of version {version}",
        daemon::versions(&client)?
    );
    let bed = Bed {
        node,
        daemon: daemon.into(),
        client: client.into(),
    };
    let mut cases = Cases {
        bed: &bed,
        filter,
        report,
    };
    pods::cases(&mut cases);
    terway::cases(&mut cases);
    traffic::cases(&mut cases);
    life::cases(&mut cases);
    killed::cases(&mut cases);
    bed.daemon.borrow_mut().stop()
}

/// What a node has before Sockway comes; `sockway install` puts its entry in.
fn conflist(node: &Node, version: &str) -> Value {
    json!({
        "cniVersion": version,
        "name": "pods",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isDefaultGateway": true,
                "ipam": {
                    "type": "host-local", "dataDir": node.path("ipam"),
                    "ranges": [[{ "subnet": "10.88.0.0/16" }], [{ "subnet": "fd88::/64" }]],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

struct Cases<'a> {
    bed: &'a Bed,
    filter: &'a Filter,
    report: &'a mut Report,
}

impl Cases<'_> {
    /// Runs a case, which has to leave neither pods nor rows.
    fn case(&mut self, name: &str, case: impl FnOnce(&Bed) -> Result<()>) {
        let bed = self.bed;
        if self.filter.takes(name) {
            let (left, purge) = (|| bed.expect_nothing(), || bed.purge());
            self.report.clean_case(name, || case(bed), left, purge);
        }
    }
}

impl Bed {
    /// A pod in namespace `shop`, with these annotations.
    fn wanted(&self, name: &str, annotations: &[(&str, &str)]) -> Wanted {
        let name_of = |part: &&str| (*part).to_owned();
        let cgroup = self
            .node
            .cgroup
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        Wanted {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
            annotations: annotations
                .iter()
                .map(|(k, v)| (name_of(k), name_of(v)))
                .collect(),
            cgroup_parent: format!("/{cgroup}/pods"),
        }
    }

    fn run(&self, wanted: &Wanted) -> Result<String> {
        self.client.borrow().run(wanted)
    }

    fn end(&self, id: &str) -> Result<()> {
        let client = self.client.borrow();
        client.stop(id)?;
        client.remove(id)
    }

    /// Makes and removes pods until one is as wanted: the runtime notices a new
    /// conflist by itself, and while it reads it may have none.
    fn eventually(&self, what: &str, wanted: &Wanted, holds: impl Fn(&str) -> bool) -> Result<()> {
        let ended = |id: &str| self.end(id).is_ok();
        eventually(what, || {
            let Ok(id) = self.run(wanted) else {
                return Ok(false);
            };
            let held = holds(&id);
            eventually("the pod is removed", || Ok(ended(&id)))?;
            Ok(held)
        })
    }

    /// Ends the runtime as `end` says, and starts it again.
    fn restart(&self, end: fn(&mut Daemon) -> Result<()>) -> Result<()> {
        let mut daemon = self.daemon.borrow_mut();
        end(&mut daemon)?;
        *self.client.borrow_mut() = daemon.restart()?;
        Ok(())
    }

    /// Calls of our plugin that its log has, of a verb and a container.
    fn logged(&self, verb: &str, container: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.node.path("sockway-cni.log")).unwrap_or_default();
        let mark = format!("] {verb} container={container} ");
        log.lines()
            .filter(|line| line.contains(&mark))
            .map(str::to_owned)
            .collect()
    }

    fn expect_nothing(&self) -> Result<()> {
        let pods = self.client.borrow().list()?;
        if !pods.is_empty() {
            bail!("pods left: {pods:?}");
        }
        self.node.expect_nothing()
    }

    /// Removes what a failed case left.
    fn purge(&self) -> Result<()> {
        for id in self.client.borrow().list()? {
            self.end(&id)?;
        }
        self.node.purge()
    }
}

/// Waits until something holds.
fn eventually(what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
    until(PATIENCE, || {
        Ok(holds()?
            .then_some(())
            .ok_or_else(|| format!("not so: {what}")))
    })
}

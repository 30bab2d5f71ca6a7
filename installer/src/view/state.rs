//! What is on this node: programs, plugin, conflists, pods, sums.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use sockway_datapath::{Datapath, Error, Pins, stats, switch};

use crate::build::Facts;
use crate::cni::CniArgs;
use crate::cni::confdir;
use crate::cni::conflist::{Conflist, PLUGIN_TYPE};
use crate::exit::Exit;
use crate::sys::files;
use crate::view::figures::{self, Figures};
use crate::view::pods::{self, PodState};

/// Everything that `sockway status` shows.
#[derive(Debug, Serialize)]
pub struct State {
    /// Build and host.
    pub host: Facts,
    /// The programs; absent where nothing is pinned.
    pub datapath: Option<Programs>,
    /// Pins of other versions' layouts.
    pub other_layouts: Vec<String>,
    /// Whether the node is switched off.
    pub off: bool,
    /// Registered pods.
    pub pods: usize,
    /// Pods that the tripwire switched off, by name.
    pub tripped: Vec<String>,
    /// Sums; absent where nothing is pinned.
    pub figures: Option<Figures>,
    /// Accelerated connections now.
    pub connections: usize,
    /// The plugin's binary.
    pub plugin: Plugin,
    /// The conflists that matter, the one in effect first.
    pub conflists: Vec<ConflistState>,
    /// What is not as it should be, one line each.
    pub problems: Vec<String>,
}

/// The programs' state.
#[derive(Debug, Serialize)]
pub struct Programs {
    /// Whether new connections are joined.
    pub attached: bool,
    /// Id of the `sock_ops` program.
    pub program_id: Option<u32>,
    /// The cgroup it is attached to: its directory's inode number.
    pub cgroup_id: Option<u64>,
    /// What works with less on this kernel.
    pub limits: Vec<&'static str>,
}

/// The plugin's binary.
#[derive(Debug, Serialize)]
pub struct Plugin {
    /// Where it belongs.
    pub path: PathBuf,
    /// Whether it is there.
    pub present: bool,
}

/// A conflist and our entry in it.
#[derive(Debug, Serialize)]
pub struct ConflistState {
    /// The file.
    pub path: PathBuf,
    /// The types of its plugins, in order.
    pub chain: Vec<String>,
    /// Our entry.
    pub entry: Option<serde_json::Value>,
}

impl State {
    /// Looks at everything. What cannot be looked at becomes a problem, not a failure.
    pub fn gather(pins: &Pins, cni: &CniArgs) -> Self {
        let mut problems = Vec::new();
        let datapath = programs(pins, &mut problems);
        let other_layouts = pins.other_layouts().unwrap_or_default();
        let path = cni.plugin_path();
        let plugin = Plugin {
            present: path.is_file(),
            path,
        };
        let conflists = conflists(cni, &mut problems);
        let mut state = Self {
            host: Facts::gather(pins),
            datapath,
            other_layouts,
            off: false,
            pods: 0,
            tripped: Vec::new(),
            figures: None,
            connections: 0,
            plugin,
            conflists,
            problems,
        };
        if state.datapath.is_some()
            && let Err(e) = state.add_maps(pins)
        {
            state.problems.push(crate::exit::chain(&e));
        }
        state.judge();
        state
    }

    fn add_maps(&mut self, pins: &Pins) -> Result<()> {
        self.figures = Some(Figures::from(&figures::read(pins)?));
        self.off = switch::is_off(pins)?;
        // Two sockets for each connection; one may have closed already.
        self.connections = stats::sockets(pins)?.div_ceil(2);
        let pods = pods::gather(pins)?;
        self.pods = pods.len();
        let tripped = pods.iter().filter(|pod| pod.tripped);
        self.tripped = tripped.map(PodState::title).collect();
        Ok(())
    }

    fn judge(&mut self) {
        let named = self.conflists.iter().any(|c| c.entry.is_some());
        let Self {
            datapath,
            plugin,
            conflists,
            problems,
            ..
        } = self;
        match datapath {
            Some(programs) if !programs.attached => problems.push(
                "programs are pinned but not attached: no connection is joined (`sockway install`)".to_owned(),
            ),
            None if named => problems.push(
                "the conflist names the plugin, but no programs are pinned: pods stay on TCP (`sockway install`)".to_owned(),
            ),
            _ => {}
        }
        if named && !plugin.present {
            problems.push(format!(
                "the conflist names the plugin, but {} is not there: pods cannot start (`sockway install`)",
                plugin.path.display()
            ));
        }
        if datapath.as_ref().is_some_and(|p| p.attached) {
            for conflist in conflists.iter().filter(|c| c.entry.is_none()) {
                problems.push(format!(
                    "{} does not name the plugin: new pods are not registered (`sockway install`)",
                    conflist.path.display()
                ));
            }
        }
    }

    /// True where nothing of an installation is there.
    pub fn absent(&self) -> bool {
        self.datapath.is_none()
            && self.other_layouts.is_empty()
            && self.conflists.iter().all(|c| c.entry.is_none())
    }

    /// The exit code that says the same.
    pub fn exit(&self) -> Exit {
        if self.absent() {
            Exit::NotInstalled
        } else if self.problems.is_empty() {
            Exit::Done
        } else {
            Exit::Degraded
        }
    }
}

fn programs(pins: &Pins, problems: &mut Vec<String>) -> Option<Programs> {
    match Datapath::status(pins) {
        Ok(status) => Some(Programs {
            attached: status.attached,
            program_id: status.program_id,
            cgroup_id: status.cgroup_id,
            limits: status.limits,
        }),
        Err(Error::NotInstalled { .. }) => None,
        Err(e) => {
            problems.push(e.to_string());
            None
        }
    }
}

fn conflists(cni: &CniArgs, problems: &mut Vec<String>) -> Vec<ConflistState> {
    let targets = match confdir::targets(cni) {
        Ok(targets) => {
            problems.extend(targets.troubles);
            targets.files
        }
        Err(e) => {
            problems.push(crate::exit::chain(&e));
            return Vec::new();
        }
    };
    targets
        .iter()
        .filter_map(|path| match conflist(path) {
            Ok(state) => Some(state),
            Err(e) => {
                problems.push(crate::exit::chain(&e));
                None
            }
        })
        .collect()
}

fn conflist(path: &Path) -> Result<ConflistState> {
    let text = files::read(path)?.text;
    let list = Conflist::parse(&text).map_err(|p| anyhow::anyhow!("{} {p}", path.display()))?;
    let entry = list.ours().map(|p| p.value.clone());
    let chain = list.plugins.into_iter().map(|p| p.kind).collect();
    Ok(ConflistState {
        path: path.to_owned(),
        chain,
        entry,
    })
}

impl ConflistState {
    /// What is said of it in one line.
    pub fn line(&self) -> String {
        let Self { path, chain, entry } = self;
        let chain = chain.join(" > ");
        match entry {
            Some(_) => format!("{}: {chain}", path.display()),
            None => format!("{}: {chain} (no {PLUGIN_TYPE})", path.display()),
        }
    }
}

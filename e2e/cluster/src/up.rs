//! `make cluster` and `make cluster-down`.

use std::fs;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::kubectl::Kubectl;
use crate::mesh;
use crate::node::Node;
use crate::parts::Parts;
use crate::place::Place;
use crate::space::Space;

/// Starts a cluster with Istio; Sockway is not in it yet.
pub(crate) fn up(keep: bool) -> Result<Kubectl> {
    let place = Place::here()?;
    let parts = Parts::find()?;
    if Space::find(&place)?.is_none() && place.dir().exists() {
        fs::remove_dir_all(place.dir()).context("cannot remove the last cluster's files")?;
    }
    let space = Space::create(&place)?;
    let kubectl = Kubectl { space, parts };
    match start(&kubectl) {
        Ok(()) => Ok(kubectl),
        Err(error) if keep => Err(error),
        Err(error) => {
            eprintln!(
                "cluster: taking it down again; logs are in {}",
                place.path("log").display()
            );
            kubectl.space.remove()?;
            Err(error)
        }
    }
}

fn start(kubectl: &Kubectl) -> Result<()> {
    let started = Instant::now();
    let step = |what: &str| eprintln!("cluster: {:4.0} s  {what}", started.elapsed().as_secs_f64());
    let node = Node(kubectl);
    node.prepare()?;
    step("namespaces, certificates");
    node.start()?;
    step("control plane, containerd, kubelet");
    node.ready()?;
    step("node ready");
    node.furnish()?;
    step("images, CoreDNS");
    mesh::install(kubectl)?;
    step("istiod, Istio CNI");
    Ok(())
}

/// Ends the cluster of this checkout, and says whether there was one.
pub(crate) fn down() -> Result<()> {
    let place = Place::here()?;
    if let Some(space) = Space::find(&place)? {
        space.remove()
    } else {
        eprintln!("cluster: none is up in {}", place.dir().display());
        Ok(())
    }
}

/// The cluster that is up already.
pub(crate) fn there() -> Result<Kubectl> {
    let space = Space::up(&Place::here()?)?;
    Ok(Kubectl {
        space,
        parts: Parts::find()?,
    })
}

/// What somebody would try next.
pub(crate) fn advise(kubectl: &Kubectl) {
    let program = kubectl.parts.ours("sockway-cluster");
    let root = &kubectl.parts.root;
    let program = program.strip_prefix(root).unwrap_or(&program).display();
    let tool = |path: std::path::PathBuf| path.display().to_string();
    let (helm, kubectl) = (
        tool(kubectl.parts.helm.clone()),
        tool(kubectl.parts.kubernetes("kubectl")),
    );
    println!(
        "The cluster is up; make cluster-down ends it. From {}:
  {program} in {helm} install sockway {} --namespace kube-system
  {program} in {kubectl} get pods --all-namespaces
  {program} in {kubectl} -n kube-system exec daemonset/sockway -- /sockway status",
        root.display(),
        root.join("conf/helm/sockway").display(),
    );
}

/// Ends the cluster of this checkout when SIGINT or SIGTERM comes, and then this process.
pub(crate) fn down_on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot catch signals")?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            eprintln!("cluster: interrupted; taking it down");
            if let Err(error) = down() {
                eprintln!("cluster: {error:#}");
            }
            std::process::exit(130);
        }
    });
    Ok(())
}

//! The node becomes one of terway's, in one of its modes.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::Stage;
use super::NAMESPACE;
use crate::kubectl::Kubectl;
use crate::place::SERVICE_CIDR;
use crate::roles::{BRIDGE, FIRST, GATEWAY, MODE, Mode, NETWORK, VPC};
use crate::run::until;
use crate::{counters, launch};

const SOON: Duration = Duration::from_mins(1);
const DAEMON: &str = "terway-daemon";

/// The node's main plugin becomes terway; pods are made anew.
pub(super) fn arrive(stage: &Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    let plugin = match &stage.options.terway {
        Some(path) => path.canonicalize()?,
        None => kubectl.parts.ours("sockway-cluster"),
    };
    // What the interfaces are in is not the node: a router of its own between them.
    let script = format!(
        "set -e; install -m 755 {} /opt/cni/bin/terway; rm -f /etc/cni/net.d/10-node.conflist
        ip netns add {VPC}
        ip -n {VPC} link set lo up
        ip -n {VPC} link add {BRIDGE} type bridge
        ip -n {VPC} address add {GATEWAY}/22 dev {BRIDGE}
        ip -n {VPC} link set {BRIDGE} up
        nsenter --net=/run/netns/{VPC} sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.{BRIDGE}.send_redirects=0 net.ipv4.conf.all.rp_filter=0",
        plugin.display()
    );
    kubectl.space.run("sh").args(["-c", &script]).done()?;
    enter(stage, Mode::Policy)?;
    kubectl.apply(include_str!("../../../manifests/terway.yaml"))?;
    kubectl.rolled_out("kube-system", "daemonset/terway-eniip", SOON)?;
    istio_again(kubectl, true)?;
    remade(kubectl)
}

/// What everybody asks has its interface from terway too.
fn remade(kubectl: &Kubectl) -> Result<()> {
    for (namespace, name) in [
        ("istio-system", "deployment/istiod"),
        ("kube-system", "deployment/coredns"),
    ] {
        kubectl
            .line(&format!("-n {namespace} rollout restart {name}"))
            .done()?;
        kubectl.rolled_out(namespace, name, SOON)?;
    }
    Ok(())
}

/// Istio CNI goes on waiting for a file that is gone: its pod is deleted.
pub(super) fn istio_again(kubectl: &Kubectl, wait: bool) -> Result<()> {
    kubectl
        .line("-n istio-system delete pods -l k8s-app=istio-cni-node --wait=false")
        .done()?;
    if wait {
        kubectl.rolled_out("istio-system", "daemonset/istio-cni-node", SOON)?;
    }
    Ok(())
}

/// Pods that come from now on have an interface of the VPC's for themselves.
pub(super) fn exclusive(stage: &Stage) -> Result<()> {
    // What goes to a Service by the node comes back by it, as kube-proxy has it for
    // addresses that are not of its range.
    let script = format!(
        "iptables -w -t nat -A POSTROUTING -s {NETWORK} -m conntrack --ctstate DNAT -j MASQUERADE"
    );
    stage.kubectl.space.run("sh").args(["-c", &script]).done()?;
    enter(stage, Mode::Exclusive)?;
    // On such a node nobody is behind the other mode's rules.
    remade(stage.kubectl)
}

fn enter(stage: &Stage, mode: Mode) -> Result<()> {
    let space = &stage.kubectl.space;
    let script = format!("echo {} >{MODE}", mode.word());
    space.run("sh").args(["-c", &script]).done()?;
    if stage.options.terway.is_none() {
        return Ok(());
    }
    if mode == Mode::Exclusive {
        launch::stop(space, DAEMON)?;
    }
    let (mode, first) = (mode.word(), FIRST.to_string());
    launch::start(
        space,
        DAEMON,
        &stage.kubectl.parts.go_programs,
        [
            "terway-daemon",
            "-mode",
            mode,
            "-first",
            &first,
            "-network",
            NETWORK,
            "-gateway",
            GATEWAY,
            "-services",
            SERVICE_CIDR,
            "-vpc",
            VPC,
            "-bridge",
            BRIDGE,
        ],
    )?;
    until("the socket of terway's daemon", SOON, || {
        space.run("test").args(["-S", "/run/eni/eni.socket"]).done()
    })
}

/// The pods of the namespace have the links of that mode.
pub(super) fn as_wired(stage: &Stage, mode: Mode) -> Result<()> {
    let kubectl = stage.kubectl;
    let pods = kubectl.json(&format!("-n {NAMESPACE} get pods -l app=fortioserver"))?;
    let address = pods["items"][0]["status"]["podIP"]
        .as_str()
        .unwrap_or_default();
    let netns = counters::netns(kubectl, address)?;
    let routes = kubectl
        .space
        .run("nsenter")
        .arg(format!("--net={netns}"))
        .args(["ip", "route", "show", "default"])
        .output()?;
    let by = match mode {
        Mode::Policy => "169.254.1.1",
        Mode::Exclusive => GATEWAY,
    };
    ensure!(
        routes.contains(&format!("via {by} dev eth0")),
        "not the default route of {} mode: {routes}",
        mode.word()
    );
    Ok(())
}

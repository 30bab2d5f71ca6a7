//! Sockway and the runtime come and go while pods live.

use anyhow::{Context, Result, bail};

use super::daemon::Daemon;
use super::pods::expect_rows;
use super::{Bed, Cases, FILE};
use crate::node::Node;

pub(super) fn cases(cases: &mut Cases<'_>) {
    cases.case("life/the-runtime-is-restarted", restarted);
    cases.case("life/uninstalled-while-pods-live", uninstalled);
    cases.case("life/pods-older-than-the-install", older);
    cases.case("life/reinstalled-while-pods-live", reinstalled);
    cases.case("life/after-a-reboot", rebooted);
}

fn restarted(bed: &Bed) -> Result<()> {
    let id = bed.run(&bed.wanted("web-0", &[]))?;
    bed.restart(Daemon::stop)?;
    expect_rows(bed, &id, "shop/web-0", "auto", 2).context("stopped and started")?;
    bed.restart(Daemon::kill)?;
    expect_rows(bed, &id, "shop/web-0", "auto", 2).context("killed and started")?;
    bed.end(&id)
}

/// Takes everything off the node; waits until the runtime has seen it.
fn uninstall(bed: &Bed) -> Result<()> {
    bed.node
        .sockway(&["uninstall"])
        .done()
        .context("sockway uninstall")?;
    if has_ours(&bed.node)? {
        bail!("the entry is still in the conflist");
    }
    if bed.node.pins().dir().exists() {
        bail!("{} is still there", bed.node.pins().dir().display());
    }
    if !bed.node.path("bin/sockway-cni").is_file() {
        bail!("the plugin's binary went, which runtimes call with the configuration they remember");
    }
    bed.eventually(
        "pods are made without ours",
        &bed.wanted("probe", &[]),
        |id| bed.logged("ADD", id).is_empty(),
    )
}

fn install(bed: &Bed) -> Result<()> {
    bed.node
        .sockway(&["install"])
        .done()
        .context("sockway install")?;
    if !has_ours(&bed.node)? {
        bail!("the entry is not in the conflist");
    }
    bed.eventually("pods are made with ours", &bed.wanted("probe", &[]), |id| {
        !bed.logged("ADD", id).is_empty()
    })
}

fn has_ours(node: &Node) -> Result<bool> {
    let list = node.conflist(FILE)?;
    let plugins = list["plugins"].as_array().context("the plugins")?;
    Ok(plugins.iter().any(|plugin| plugin["type"] == "sockway-cni"))
}

fn uninstalled(bed: &Bed) -> Result<()> {
    let pods = [
        bed.run(&bed.wanted("web-0", &[]))?,
        bed.run(&bed.wanted("web-1", &[]))?,
    ];
    // The runtime may not have seen the new conflist yet: it calls a plugin without maps.
    bed.node
        .sockway(&["uninstall"])
        .done()
        .context("sockway uninstall")?;
    bed.end(&pods[0]).context("remove a pod at once")?;
    uninstall(bed)?;
    bed.end(&pods[1]).context("remove a pod later")?;
    install(bed)
}

fn older(bed: &Bed) -> Result<()> {
    uninstall(bed)?;
    let id = bed.run(&bed.wanted("web-0", &[("sockway.io/scope", "proxy")]))?;
    install(bed)?;
    expect_rows(bed, &id, "shop/web-0", "proxy", 2)?;
    bed.end(&id)
}

fn reinstalled(bed: &Bed) -> Result<()> {
    let id = bed.run(&bed.wanted("web-0", &[]))?;
    bed.node
        .sockway(&["install"])
        .done()
        .context("install again")?;
    expect_rows(bed, &id, "shop/web-0", "auto", 2)?;
    uninstall(bed)?;
    install(bed)?;
    expect_rows(bed, &id, "shop/web-0", "auto", 2).context("after uninstall and install")?;
    bed.end(&id)
}

/// The maps are gone, the entry is still in the conflist: pods come and go as
/// without Sockway, until it is installed again.
fn rebooted(bed: &Bed) -> Result<()> {
    bed.node.forget_maps()?;
    let result = bed.run(&bed.wanted("web-0", &[])).and_then(|id| {
        let lines = bed.logged("ADD", &id).join("\n");
        if !(lines.contains("[WARN]") && lines.contains("sockway is not installed")) {
            bail!("the log says {lines:?}");
        }
        bed.end(&bed.run(&bed.wanted("web-1", &[]))?)?;
        Ok(id)
    });
    bed.node
        .sockway(&["install"])
        .done()
        .context("install again")?;
    let id = result?;
    expect_rows(bed, &id, "shop/web-0", "auto", 2)?;
    bed.end(&id)
}

//! Pods come and go: what is registered, and how far each takes part.

use anyhow::{Context, Result, bail};
use serde_json::json;
use sockway_common::pod::{DEFAULT_INBOUND_PORT, DEFAULT_OUTBOUND_PORT};
use sockway_testkit::rows::Row;

use super::{Bed, Cases, FILE, eventually};

pub(super) fn cases(cases: &mut Cases<'_>) {
    cases.case("pods/run-and-remove", run_and_remove);
    for (word, scope) in [
        ("off", "off"),
        ("proxy", "proxy"),
        ("auto", "auto"),
        ("all", "all"),
    ] {
        let name = format!("pods/annotation-{word}");
        cases.case(&name, |bed| annotated(bed, word, scope));
    }
    cases.case("pods/annotation-that-is-none", not_a_scope);
    cases.case("pods/excluded-namespace", excluded);
    cases.case("pods/a-plugin-after-ours-fails", later_plugin_fails);
    cases.case("pods/ten-at-a-time", ten);
}

/// The rows of a pod: its addresses as the runtime reports them, its names.
pub(super) fn expect_rows(
    bed: &Bed,
    id: &str,
    name: &str,
    scope: &'static str,
    count: usize,
) -> Result<()> {
    let sandbox = bed.client.borrow().sandbox(id)?;
    let expected: Vec<_> = sandbox
        .ips
        .iter()
        .map(|ip| Row {
            ip: *ip,
            container: id.to_owned(),
            ifname: "eth0".to_owned(),
            pod: name.to_owned(),
            scope,
            ports: [DEFAULT_OUTBOUND_PORT, DEFAULT_INBOUND_PORT],
        })
        .collect();
    let found: Vec<_> = bed
        .node
        .rows()?
        .into_iter()
        .filter(|row| row.container == id)
        .collect();
    if found.len() != count || found != expected {
        bail!("registered: {found:?}; expected: {expected:?}");
    }
    Ok(())
}

fn run_and_remove(bed: &Bed) -> Result<()> {
    let id = bed.run(&bed.wanted("web-0", &[("a", "b")]))?;
    expect_rows(bed, &id, "shop/web-0", "auto", 2)?;
    let pid = bed.client.borrow().sandbox(&id)?.pid;
    let row = bed.node.sandbox(&id, "eth0")?.context("the attachment")?;
    let netns = std::fs::metadata(format!("/proc/{pid}/ns/net")).context("the pod's namespace")?;
    if row.netns_inode != std::os::unix::fs::MetadataExt::ino(&netns) || row.since_unix_ns == 0 {
        bail!("the attachment's row is {row:?}");
    }
    if bed.logged("ADD", &id).len() != 1 {
        bail!("ADD was not called once");
    }
    bed.client.borrow().stop(&id)?;
    bed.node.expect_nothing().context("after StopPodSandbox")?;
    bed.client.borrow().stop(&id).context("stop again")?;
    bed.client.borrow().remove(&id)?;
    bed.client.borrow().remove(&id).context("remove again")?;
    if bed.logged("DEL", &id).is_empty() {
        bail!("DEL was never called");
    }
    Ok(())
}

fn annotated(bed: &Bed, word: &str, scope: &'static str) -> Result<()> {
    let id = bed.run(&bed.wanted("web-1", &[("sockway.io/scope", word), ("x", "y")]))?;
    expect_rows(bed, &id, "shop/web-1", scope, 2)?;
    bed.end(&id)
}

/// Nothing is guessed, and the pod runs.
fn not_a_scope(bed: &Bed) -> Result<()> {
    let id = bed.run(&bed.wanted("web-2", &[("sockway.io/scope", "offf")]))?;
    bed.node.expect_nothing()?;
    let lines = bed.logged("ADD", &id).join("\n");
    if !(lines.contains("[WARN]") && lines.contains("offf") && lines.contains("is not allowed")) {
        bail!("the log says {lines:?}");
    }
    bed.end(&id)
}

/// The namespace's exclusion is final.
fn excluded(bed: &Bed) -> Result<()> {
    bed.node
        .sockway(&["install", "--exclude-namespace", "kube-system"])
        .done()?;
    let mut wanted = bed.wanted("coredns", &[("sockway.io/scope", "all")]);
    "kube-system".clone_into(&mut wanted.namespace);
    let result = bed.eventually("pods of the namespace are off", &wanted, |id| {
        expect_rows(bed, id, "kube-system/coredns", "off", 2).is_ok()
    });
    bed.node
        .sockway(&["install", "--exclude-namespace", ""])
        .done()?;
    result
}

/// The pod is not made; the runtime takes back what was.
fn later_plugin_fails(bed: &Bed) -> Result<()> {
    let before = bed.node.conflist(FILE)?;
    let mut broken = before.clone();
    let plugins = broken["plugins"].as_array_mut().context("the plugins")?;
    plugins.push(json!({ "type": "cilium-cni", "testFails": true }));
    bed.node.replace(FILE, &broken)?;
    let failed = || {
        let made = bed.run(&bed.wanted("web-3", &[]));
        made.as_ref()
            .map_or(Ok(()), |id| bed.end(id))
            .map(|()| made.is_err())
    };
    let result = eventually("the runtime takes the new conflist", failed)
        .and_then(|()| bed.node.expect_nothing());
    bed.node.replace(FILE, &before)?;
    bed.eventually(
        "the runtime takes the old conflist",
        &bed.wanted("web-4", &[]),
        |_| true,
    )?;
    // A sandbox whose network failed may stay known to the runtime.
    for id in bed.client.borrow().list()? {
        bed.end(&id)?;
    }
    result
}

fn ten(bed: &Bed) -> Result<()> {
    let ids = std::thread::scope(|scope| -> Result<Vec<String>> {
        let mut running = Vec::new();
        for number in 0..10 {
            let wanted = bed.wanted(&format!("web-{number}"), &[]);
            let client = bed.daemon.borrow().client()?;
            running.push(scope.spawn(move || client.run(&wanted)));
        }
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<String>>| {
            thread.join().map_err(|_| anyhow::anyhow!("panic"))?
        };
        running.into_iter().map(join).collect()
    })?;
    for (number, id) in ids.iter().enumerate() {
        expect_rows(bed, id, &format!("shop/web-{number}"), "auto", 2)?;
    }
    for id in &ids {
        bed.end(id)?;
    }
    Ok(())
}

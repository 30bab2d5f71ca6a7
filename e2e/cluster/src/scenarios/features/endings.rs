//! Connections that Envoy hands over, and connections whose pod ends.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::super::Stage;
use super::BOTH;
use crate::{counters, fortio};

/// Connections that are upgraded, one after the other.
const TALKS: &str = "8";
/// Least share of a WebSocket's bytes off the interfaces: a client that is new each time has
/// sent most of them when its reads are known.
const LEAST: f64 = 0.3;

/// WebSocket: every message comes back as it was sent, and both modes say the same.
pub(super) fn websocket(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    let talk = |namespace: &str| {
        let command = format!("/programs ws-client -to chat:8090 -count {TALKS}");
        kubectl
            .exec(namespace, "deployment/talker", &command)
            .output()
    };
    let count = |namespace: &str| -> Result<u64> {
        ["talker", "chat"]
            .iter()
            .map(|app| counters::bytes(kubectl, namespace, app))
            .sum()
    };
    let mut seen = Vec::new();
    for (namespace, _) in BOTH {
        // The applications become known.
        talk(namespace)?;
        let before = count(namespace)?;
        let said = talk(namespace)?;
        seen.push((said, count(namespace)?.saturating_sub(before)));
    }
    let [(with, bytes), (plain, all)] = &seen[..] else {
        unreachable!("one for each namespace");
    };
    ensure!(with == plain, "said {with:?}, and on plain {plain:?}");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let share = 1.0 - *bytes as f64 / *all as f64;
    stage.note(format!(
        "WebSocket: {:.1} % off the interfaces, every message came back in either",
        share * 100.0
    ));
    ensure!(share >= LEAST, "WebSocket: only {:.1} %", share * 100.0);
    Ok(())
}

/// Requests while one of two servers ends with a drain: no more fail than on plain.
pub(super) fn draining(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    let mut counts = Vec::new();
    for (namespace, _) in BOTH {
        let load = {
            let kubectl = kubectl.clone();
            thread::spawn(move || {
                let arguments = "-c 8 -qps 400 -t 12s -payload-size 1024 http://leaving:8080/echo";
                fortio::counted(&kubectl, namespace, "deployment/fortioclient", arguments)
            })
        };
        thread::sleep(Duration::from_secs(3));
        let names = kubectl
            .line(&format!("-n {namespace} get pods -l app=leaving -o name"))
            .output()?;
        let name = names.lines().next().context("no pod")?.to_owned();
        kubectl
            .line(&format!("-n {namespace} delete {name} --wait=true"))
            .done()?;
        let counted = load
            .join()
            .map_err(|_| anyhow::anyhow!("the thread of a load panicked"))??;
        counts.push(counted);
    }
    let (with, plain) = (counts[0], counts[1]);
    stage.note(format!(
        "a server ends with a drain: {} requests answered, {} failed; plain {} and {}",
        with.answered, with.failed, plain.answered, plain.failed
    ));
    ensure!(
        with.answered > 0 && with.failed <= plain.failed,
        "a server ends with a drain: more fail than on plain"
    );
    Ok(())
}

//! Seen from outside: a real Prometheus scrapes, every panel and every rule is asked.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::Stage;
use crate::kubectl::Kubectl;
use crate::run::until;
use crate::templates::common;
use crate::{app, fortio, launch, product};

const NAMESPACE: &str = "outside";
const URL: &str = "http://127.0.0.1:9090/api/v1";
const SOON: Duration = Duration::from_mins(1);
const TCP: &str = "-c 16 -qps 2000 -t 20s -payload-size 1024 tcp://fortioserver:8078";

pub(super) fn run(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    product::install(
        kubectl,
        "--set metrics.enabled=true --set metrics.podFigures=20",
    )?;
    start(kubectl)?;
    let result = look(stage);
    launch::stop(&kubectl.space, "prometheus")?;
    product::install(kubectl, "")?;
    app::remove(kubectl, NAMESPACE)?;
    result
}

fn look(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    app::article(kubectl, NAMESPACE, None, true)?;
    fortio::load(kubectl, NAMESPACE, TCP)?;
    stage.part("panels", panels);
    stage.part("rules", rules);
    stage.part("the alert of a node that is not as wanted", alert);
    Ok(())
}

/// Prometheus on the node, with the repository's rules; how long a state has to last
/// until an alert fires is cut down to nothing.
fn start(kubectl: &Kubectl) -> Result<()> {
    let rules = fs::read_to_string(
        kubectl
            .parts
            .root
            .join("conf/prometheus/sockway-rules.yaml"),
    )
    .context("the rules")?;
    let rules: Vec<_> = rules
        .lines()
        .map(|line| match line.split_once("for: ") {
            Some((before, _)) if before.trim().is_empty() => format!("{before}for: 0s"),
            _ => line.to_owned(),
        })
        .collect();
    let place = kubectl.space.place();
    let rules = place.write("prometheus/rules.yaml", &rules.join("\n"))?;
    let config = common(include_str!("../../manifests/prometheus.yaml"))
        .replace("@RULES@", &rules.display().to_string());
    let config = place.write("prometheus/prometheus.yaml", &config)?;
    launch::start(
        &kubectl.space,
        "prometheus",
        &kubectl.parts.prometheus,
        [
            format!("--config.file={}", config.display()),
            "--storage.tsdb.path=/var/lib/prometheus-cluster".to_owned(),
            "--web.listen-address=127.0.0.1:9090".to_owned(),
        ],
    )?;
    until("Prometheus", SOON, || {
        let up = query(kubectl, "up{job=\"kube-system/sockway\"}")?;
        ensure!(
            up.first().is_some_and(|one| one["value"][1] == "1"),
            "no target is up"
        );
        Ok(())
    })
}

/// What an expression evaluates to now.
fn query(kubectl: &Kubectl, expression: &str) -> Result<Vec<Value>> {
    let text = kubectl
        .space
        .run("curl")
        .args(["-sS", "--max-time", "10", "-G", "--data-urlencode"])
        .arg(format!("query={expression}"))
        .arg(format!("{URL}/query"))
        .output()?;
    let answer: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
    ensure!(
        answer["status"] == "success",
        "{expression}: {}",
        answer["error"]
    );
    answer["data"]["result"]
        .as_array()
        .cloned()
        .context("no result")
}

fn panels(stage: &mut Stage) -> Result<()> {
    let file = stage.kubectl.parts.root.join("conf/grafana/sockway.json");
    let text = fs::read_to_string(file).context("the dashboard")?;
    let dashboard: Value = serde_json::from_str(&text).context("the dashboard")?;
    let (mut asked, mut empty) = (0, Vec::new());
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().context("a panel without a query")?;
            let expression = expression
                .replace("$__rate_interval", "1m")
                .replace("$instance", ".*");
            asked += 1;
            if query(stage.kubectl, &expression)?.is_empty() {
                empty.push(format!("{}: {expression}", panel["title"]));
            }
        }
    }
    stage.note(format!(
        "Prometheus: {asked} queries of panels, {} without data",
        empty.len()
    ));
    if !empty.is_empty() {
        bail!("no data: {}", empty.join("; "));
    }
    Ok(())
}

/// Each rule's expression is evaluated without an error, and what it is made of has data.
fn rules(stage: &mut Stage) -> Result<()> {
    let text = stage
        .kubectl
        .space
        .run("curl")
        .args(["-sS", &format!("{URL}/rules")])
        .output()?;
    let answer: Value = serde_json::from_str(&text).context("no JSON")?;
    let groups = answer["data"]["groups"].as_array().context("no groups")?;
    let rules: Vec<_> = groups
        .iter()
        .filter_map(|group| group["rules"].as_array())
        .flatten()
        .collect();
    let bad: Vec<_> = rules
        .iter()
        .filter(|rule| rule["health"] != "ok")
        .map(|rule| format!("{}: {}", rule["name"], rule["lastError"]))
        .collect();
    ensure!(!rules.is_empty(), "Prometheus has no rules");
    ensure!(bad.is_empty(), "{}", bad.join("; "));
    let mut without = Vec::new();
    for rule in &rules {
        let expression = rule["query"].as_str().unwrap_or_default();
        for metric in metrics(expression) {
            if query(stage.kubectl, &metric)?.is_empty() {
                without.push(format!("{} of {}", metric, rule["name"]));
            }
        }
    }
    let firing: Vec<_> = rules
        .iter()
        .filter(|rule| rule["state"] == "firing")
        .map(|rule| rule["name"].to_string())
        .collect();
    stage.note(format!(
        "Prometheus: {} rules healthy, firing: {firing:?}",
        rules.len()
    ));
    ensure!(without.is_empty(), "no such metric: {}", without.join(", "));
    Ok(())
}

/// The names of our metrics in an expression.
fn metrics(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| !c.is_alphanumeric() && c != '_');
    let mut names: Vec<_> = words
        .filter(|word| word.starts_with("sockway_"))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Fires while the plugin cannot be put back, and clears when it is.
fn alert(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    let firing = || -> Result<bool> {
        let alerts = query(
            kubectl,
            "ALERTS{alertname=\"SockwayNotReady\",alertstate=\"firing\"}",
        )?;
        Ok(!alerts.is_empty())
    };
    ensure!(!firing()?, "it fires before anything is wrong");
    let shell = |script: &str| kubectl.space.run("sh").args(["-c", script]).done();
    // A directory in its place: what is only removed is back before anybody looks.
    shell("rm /opt/cni/bin/sockway-cni && mkdir -p /opt/cni/bin/sockway-cni/taken")?;
    let fired = until("the alert to fire", SOON, || {
        ensure!(firing()?, "it does not fire");
        Ok(())
    });
    shell("rm -r /opt/cni/bin/sockway-cni")?;
    fired?;
    until("the alert to clear", SOON, || {
        ensure!(!firing()?, "it still fires");
        Ok(())
    })?;
    thread::sleep(Duration::from_secs(1));
    shell("test -x /opt/cni/bin/sockway-cni")?;
    stage.note("the alert SockwayNotReady fired while the plugin was missing, and cleared");
    Ok(())
}

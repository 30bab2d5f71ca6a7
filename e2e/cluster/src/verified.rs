//! Verified traffic between two injected pods, for as long as something else happens.

use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::kubectl::Kubectl;
use crate::templates::fill;
use crate::{app, counters, run};

/// Server (two pods) and client in a namespace.
pub(crate) fn pair(kubectl: &Kubectl, namespace: &str, scope: &str) -> Result<()> {
    let values = BTreeMap::from([
        ("NAMESPACE", namespace.to_owned()),
        ("ANNOTATIONS", app::annotations(Some(scope))),
    ]);
    kubectl.apply(&fill(include_str!("../manifests/pair.yaml"), &values))?;
    app::ready(kubectl, namespace)
}

/// Connections of a batch of many.
pub(crate) const BATCH: u64 = 40;
/// Without half-closed ones: Envoy loses the end of one now and then under mutual TLS, on
/// plain too.
const KINDS: &str = "rounds,burst,client-abort,server-abort";
/// Until the next batch, where nobody answered in the last.
const PAUSE: Duration = Duration::from_secs(1);

/// What connections are like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sizes {
    /// 1 byte to 256 KiB.
    Many,
    /// Some that go on for as long as what happens to them.
    Long,
}

impl Sizes {
    /// Arguments of a batch: some seconds.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Many => &[
                "--max-size",
                "262144",
                "--connections",
                "40",
                "--concurrency",
                "8",
                "--kinds",
                KINDS,
            ],
            Self::Long => &[
                "--min-size",
                "33554432",
                "--max-size",
                "67108864",
                "--kinds",
                "burst",
                "--connections",
                "8",
                "--concurrency",
                "8",
            ],
        }
    }
}

/// What a client reported.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Connections of which every byte was right.
    pub(crate) verified: u64,
    /// Connections on which something was wrong, by what.
    pub(crate) faults: BTreeMap<String, u64>,
    /// The first of them, in words.
    pub(crate) words: String,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.verified += other.verified;
        for (name, count) in other.faults {
            *self.faults.entry(name).or_default() += count;
        }
        if self.words.is_empty() {
            self.words = other.words;
        }
    }

    /// Connections with a fault.
    pub(crate) fn faults(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// Traffic that runs.
pub(crate) struct Traffic(JoinHandle<Result<Report>>);

impl Traffic {
    /// Starts it in the namespace's client: eight connections at a time, one batch
    /// after the other, for so many seconds at least.
    pub(crate) fn start(
        kubectl: &Kubectl,
        namespace: &str,
        seconds: u64,
        sizes: Sizes,
    ) -> Result<Self> {
        let service = kubectl.json(&format!("-n {namespace} get service server"))?;
        let address = service["spec"]["clusterIP"]
            .as_str()
            .context("no address")?
            .to_owned();
        let pods = kubectl.json(&format!("-n {namespace} get pods -l app=client"))?;
        let client = pods["items"][0]["status"]["podIP"]
            .as_str()
            .context("no client")?;
        // Not by kubectl exec, which ends with the kubelet: the same program in the pod's network.
        let netns = counters::netns(kubectl, client)?;
        let kubectl = kubectl.clone();
        Ok(Self(thread::spawn(move || {
            let end = Instant::now() + Duration::from_secs(seconds);
            let mut sum = Report::default();
            while Instant::now() < end {
                let ended = kubectl
                    .space
                    .run("nsenter")
                    .arg(format!("--net={netns}"))
                    .arg(kubectl.parts.ours("sockway-e2e"))
                    .args(["-o", "json", "traffic", "client"])
                    .args(sizes.arguments())
                    .args(["--to", &format!("{address}:9000")])
                    .ended()?;
                let report = parse(&ended.stdout).with_context(|| ended.stderr)?;
                // As many as can be lost while nobody answers are not what is counted.
                if report.faults() > 0 {
                    thread::sleep(PAUSE);
                }
                sum.add(report);
            }
            Ok(sum)
        })))
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> Result<Report> {
        self.0
            .join()
            .map_err(|_| anyhow::anyhow!("the thread of a client panicked"))?
    }
}

/// A short run that has to be without a fault, asked for until it is.
pub(crate) fn works(kubectl: &Kubectl, namespace: &str) -> Result<Report> {
    run::until("traffic without a fault", Duration::from_mins(1), || {
        let report = Traffic::start(kubectl, namespace, 2, Sizes::Many)?.end()?;
        anyhow::ensure!(report.faults() == 0 && report.verified > 0, "{report:?}");
        Ok(report)
    })
}

fn parse(text: &str) -> Result<Report> {
    let line = text.lines().find(|line| line.starts_with('{'));
    let report: Value = serde_json::from_str(line.context("the client reported nothing")?)
        .context("the client's report")?;
    let faults = report["by_fault"].as_object().into_iter().flatten();
    Ok(Report {
        verified: report["verified"].as_u64().context("no count")?,
        faults: faults
            .filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)))
            .collect(),
        words: report["descriptions"][0]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    })
}

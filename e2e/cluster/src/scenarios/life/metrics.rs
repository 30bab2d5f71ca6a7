//! What the runtime and the kubelet counted: the witnesses that are not ours.

use anyhow::{Context as _, Result, ensure};

use crate::kubectl::Kubectl;
use crate::place::NODE_IP;

/// A sum of seconds, and of how many.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    seconds: f64,
    count: f64,
}

impl Sum {
    fn since(self, before: Self) -> Self {
        Self {
            seconds: self.seconds - before.seconds,
            count: self.count - before.count,
        }
    }

    fn ms(self) -> f64 {
        self.seconds / self.count * 1e3
    }
}

/// Of all pods so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    network: Sum,
    sandbox: Sum,
}

impl Totals {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            network: self.network.since(before.network),
            sandbox: self.sandbox.since(before.sandbox),
        }
    }

    /// The chain's ADD, as containerd measured it.
    pub(super) fn network_ms(&self) -> f64 {
        self.network.ms()
    }

    /// `RunPodSandbox`, as the kubelet measured it.
    pub(super) fn sandbox_ms(&self) -> f64 {
        self.sandbox.ms()
    }
}

pub(super) fn totals(kubectl: &Kubectl) -> Result<Totals> {
    let page = |url: &str| {
        kubectl
            .space
            .run("curl")
            .args(["-sSk", "--max-time", "10", url])
            .output()
    };
    let runtime = page("http://127.0.0.1:1338/v1/metrics")?;
    let kubelet = page(&format!("https://{NODE_IP}:10250/metrics"))?;
    Ok(Totals {
        network: sum(
            &runtime,
            "containerd_cri_network_plugin_operations_duration_seconds_seconds",
            "operation_type=\"set_up_pod\"",
        )?,
        sandbox: sum(
            &kubelet,
            "kubelet_runtime_operations_duration_seconds",
            "operation_type=\"run_podsandbox\"",
        )?,
    })
}

/// Of the series of a histogram with that label.
fn sum(page: &str, name: &str, label: &str) -> Result<Sum> {
    let of = |suffix: &str| -> Result<f64> {
        let start = format!("{name}{suffix}");
        let mut lines = page.lines().filter(|line| {
            line.strip_prefix(&start)
                .is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        });
        let line = lines
            .next()
            .with_context(|| format!("no {start} with {label:?}"))?;
        ensure!(lines.next().is_none(), "more than one {start}");
        let value = line.rsplit(' ').next().unwrap_or_default();
        value.parse().with_context(|| format!("no number: {line}"))
    };
    Ok(Sum {
        seconds: of("_sum")?,
        count: of("_count")?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_series_of_a_histogram() {
        let page = "# TYPE a histogram\na_bucket{op=\"x\",le=\"1\"} 2\na_sum{op=\"x\"} 0.5\na_sum{op=\"y\"} 9\n\
            a_count{op=\"x\"} 2\na_count{op=\"y\"} 1\n";
        let sum = super::sum(page, "a", "op=\"x\"").unwrap();
        assert!((sum.ms() - 250.0).abs() < 1e-9);
        assert!(super::sum(page, "b", "").is_err());
    }
}

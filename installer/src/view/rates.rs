//! What pods did between two looks.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use crate::view::pods::PodState;

/// One pod's doings, for each second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PodRate {
    /// `namespace/name`, or the container id.
    pub pod: String,
    /// How far it takes part.
    pub scope: &'static str,
    /// Connections joined.
    pub connections: f64,
    /// Redirected messages.
    pub redirected_messages: f64,
    /// Redirected bytes.
    pub redirected_bytes: f64,
    /// Bytes of joined connections that went by TCP.
    pub tcp_bytes: f64,
}

impl PodRate {
    /// The redirected part of the bytes of joined connections; `None` where there were none.
    pub fn share(&self) -> Option<f64> {
        let all = self.redirected_bytes + self.tcp_bytes;
        (all > 0.0).then(|| self.redirected_bytes / all)
    }

    fn bytes(&self) -> f64 {
        self.redirected_bytes + self.tcp_bytes
    }
}

/// The sum of many.
pub fn total(rates: &[PodRate]) -> PodRate {
    let sum = |pick: fn(&PodRate) -> f64| rates.iter().map(pick).sum();
    PodRate {
        pod: "total".to_owned(),
        scope: "",
        connections: sum(|r| r.connections),
        redirected_messages: sum(|r| r.redirected_messages),
        redirected_bytes: sum(|r| r.redirected_bytes),
        tcp_bytes: sum(|r| r.tcp_bytes),
    }
}

/// Rates between two looks, the busiest pod first. A pod that was not there
/// at the first look counts from zero.
pub fn between(before: &[PodState], after: &[PodState], time: Duration) -> Vec<PodRate> {
    let key = |pod: &PodState| (pod.container_id.clone(), pod.ifname.clone());
    let before: HashMap<_, _> = before.iter().map(|pod| (key(pod), pod)).collect();
    let seconds = time.as_secs_f64().max(f64::MIN_POSITIVE);
    let mut rates: Vec<PodRate> = after
        .iter()
        .map(|pod| {
            let was = before.get(&key(pod));
            // The rows are of an LRU map: one that was evicted starts again from zero.
            let rate = |pick: fn(&PodState) -> u64| {
                let was = was.map_or(0, |was| pick(was));
                #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
                let more = pick(pod).saturating_sub(was) as f64;
                more / seconds
            };
            PodRate {
                pod: pod.title(),
                scope: pod.scope,
                connections: rate(|p| p.connections),
                redirected_messages: rate(|p| p.redirected_messages),
                redirected_bytes: rate(|p| p.redirected_bytes),
                tcp_bytes: rate(|p| p.tcp_bytes),
            }
        })
        .collect();
    rates.sort_by(|a, b| {
        b.bytes()
            .total_cmp(&a.bytes())
            .then_with(|| a.pod.cmp(&b.pod))
    });
    rates
}

#[cfg(test)]
mod tests {
    use super::{between, total};
    use crate::view::pods::PodState;
    use std::time::Duration;

    fn pod(id: &str, redirected: u64, tcp: u64) -> PodState {
        PodState {
            namespace: "n".to_owned(),
            name: id.to_owned(),
            container_id: id.to_owned(),
            redirected_bytes: redirected,
            tcp_bytes: tcp,
            ..PodState::sample()
        }
    }

    #[test]
    fn the_busiest_first() {
        let before = [pod("a", 100, 0), pod("b", 0, 0), pod("gone", 1, 1)];
        let after = [pod("a", 300, 0), pod("b", 900, 300), pod("new", 50, 0)];
        let rates = between(&before, &after, Duration::from_secs(2));
        let names: Vec<&str> = rates.iter().map(|r| r.pod.as_str()).collect();
        assert_eq!(names, ["n/b", "n/a", "n/new"]);
        assert!((rates[0].redirected_bytes - 450.0).abs() < 1e-9);
        assert!((rates[0].share().unwrap() - 0.75).abs() < 1e-9);
        assert!((total(&rates).tcp_bytes - 150.0).abs() < 1e-9);
        let idle = between(&after, &before, Duration::from_secs(1));
        assert_eq!(
            idle.iter().find(|r| r.pod == "n/a").unwrap().share(),
            None,
            "never negative"
        );
    }
}

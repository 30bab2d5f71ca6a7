//! Health, readiness and metrics of `sockway run`.

pub mod exposition;
pub mod http;
pub mod metrics;
pub mod sums;

use std::sync::Arc;
use std::time::Instant;

use sockway_datapath::Pins;

use crate::keep::shared::{STUCK, Shared};
use http::Answer;

/// The pages.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Where the maps are.
    pub pins: Pins,
    /// What the keeper knows.
    pub shared: Arc<Shared>,
    /// How many pods have figures of their own; 0 for none.
    pub per_pod: usize,
}

impl Pages {
    /// The answer for a path.
    pub fn answer(&self, path: &str, now: Instant) -> Answer {
        let known = self.shared.lock().clone();
        match path {
            "/healthz" => {
                let silent = now.saturating_duration_since(known.last_look);
                if silent > STUCK {
                    let seconds = silent.as_secs();
                    let body = format!("the keeper has not looked for {seconds} s\n");
                    return Answer::text("503 Service Unavailable", body);
                }
                Answer::text("200 OK", "ok\n")
            }
            "/readyz" if known.not_ready.is_empty() => Answer::text("200 OK", "ok\n"),
            "/readyz" => Answer::text("503 Service Unavailable", known.not_ready.join("\n") + "\n"),
            "/metrics" => Answer {
                status: "200 OK",
                kind: "text/plain; version=0.0.4; charset=utf-8",
                body: metrics::page(&self.pins, &known, self.per_pod),
            },
            _ => Answer::text(
                "404 Not Found",
                "there are /healthz, /readyz and /metrics\n",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pages;
    use crate::keep::shared::{STUCK, Shared};
    use sockway_datapath::Pins;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    #[test]
    fn health_and_readiness() {
        let now = Instant::now();
        let shared = Arc::new(Shared::new(now));
        let pages = Pages {
            pins: Pins::new("/proc/none"),
            shared: Arc::clone(&shared),
            per_pod: 0,
        };
        let status = |path, now| pages.answer(path, now).status;
        assert_eq!(status("/healthz", now), "200 OK");
        assert_eq!(status("/readyz", now), "503 Service Unavailable");
        assert_eq!(status("/", now), "404 Not Found");
        shared.lock().not_ready.clear();
        assert_eq!(status("/readyz", now), "200 OK");
        assert_eq!(status("/metrics", now), "200 OK");
        let later = now + STUCK + Duration::from_secs(1);
        assert_eq!(status("/healthz", later), "503 Service Unavailable");
    }
}

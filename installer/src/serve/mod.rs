//! Health, readiness, metrics and a page to look at, of `sockway run`.

pub mod exposition;
pub mod http;
pub mod metrics;
pub mod sums;
pub mod view;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use sockway_datapath::Pins;

use crate::keep::shared::{Known, STUCK, Shared};
use crate::view::figures::Figures;
use exposition::MEDIA_TYPE;
use http::{Answer, Site};
use hyper::StatusCode;

/// The pages.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Where the maps are.
    pub pins: Pins,
    /// What the keeper knows.
    pub shared: Arc<Shared>,
    /// How many pods have figures of their own; 0 for none.
    pub per_pod: usize,
    /// What the last page of metrics showed.
    pub before: Arc<Mutex<Option<Figures>>>,
}

impl Site for Pages {
    fn quick(&self, path: &str) -> Option<Answer> {
        let known = self.shared.lock();
        Some(match path {
            "/healthz" => health(&known, Instant::now()),
            "/readyz" if known.not_ready.is_empty() => Answer::text(StatusCode::OK, "ok\n"),
            "/readyz" => Answer::text(
                StatusCode::SERVICE_UNAVAILABLE,
                known.not_ready.join("\n") + "\n",
            ),
            "/" => Answer {
                status: StatusCode::OK,
                kind: "text/html; charset=utf-8",
                body: view::PAGE.to_owned(),
            },
            "/metrics" | "/state.json" => return None,
            _ => Answer::text(
                StatusCode::NOT_FOUND,
                "there are /, /healthz, /readyz, /metrics and /state.json\n",
            ),
        })
    }

    fn slow(&self, path: &str) -> Answer {
        let known = self.shared.lock().clone();
        let (kind, body) = if path == "/state.json" {
            let body = view::state(&self.pins, &known, &self.before);
            ("application/json", body)
        } else {
            let body = metrics::page(&self.pins, &known, self.per_pod, &self.before);
            (MEDIA_TYPE, body)
        };
        Answer {
            status: StatusCode::OK,
            kind,
            body,
        }
    }
}

/// Whether the process works: the node may be in any state.
fn health(known: &Known, now: Instant) -> Answer {
    let silent = now.saturating_duration_since(known.last_look);
    let why = match &known.sick {
        Some(why) => why.clone(),
        None if silent > STUCK => {
            format!("the keeper has not looked for {} s", silent.as_secs())
        }
        None => return Answer::text(StatusCode::OK, "ok\n"),
    };
    Answer::text(StatusCode::SERVICE_UNAVAILABLE, why + "\n")
}

#[cfg(test)]
mod tests {
    use super::http::Site;
    use super::{Pages, health};
    use crate::keep::shared::{STUCK, Shared};
    use hyper::StatusCode;
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
            before: Arc::default(),
        };
        let status = |path| pages.quick(path).unwrap().status;
        assert_eq!(status("/healthz"), StatusCode::OK);
        assert_eq!(status("/readyz"), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/none"), StatusCode::NOT_FOUND);
        shared.lock().not_ready.clear();
        assert_eq!(status("/readyz"), StatusCode::OK);
        assert!(pages.quick("/metrics").is_none());
        assert_eq!(pages.slow("/metrics").status, StatusCode::OK);
        assert!(pages.quick("/").unwrap().body.contains("state.json"));
        assert!(pages.quick("/state.json").is_none());
        assert_eq!(pages.slow("/state.json").kind, "application/json");
        shared.lock().sick = Some("removed".to_owned());
        assert_eq!(status("/healthz"), StatusCode::SERVICE_UNAVAILABLE);
        shared.lock().sick = None;
        let later = now + STUCK + Duration::from_secs(1);
        let known = shared.lock().clone();
        assert_eq!(
            health(&known, later).status,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}

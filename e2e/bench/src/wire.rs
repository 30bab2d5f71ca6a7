//! What the interfaces saw: bytes on each hop by the kernel's own counters, which
//! know nothing of Sockway. A byte that was redirected is on none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};

use crate::stage::Stage;

/// Hops in the order of a request: application to its Envoy, Envoy to Envoy, Envoy to its application.
pub(crate) const HOPS: [&str; 3] = ["outbound", "inbound", "app"];
/// Between two readings.
const TICK: Duration = Duration::from_millis(100);

/// Bytes received by then on each hop, both directions together, headers and
/// acknowledgements included.
pub(crate) type Bytes = [u64; HOPS.len()];

/// A reading and its time, milliseconds of the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) at: u64,
    pub(crate) bytes: Bytes,
}

/// Now, of the machine's clock, milliseconds.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// `rx_bytes` of `lo` and `eth0` of both pods.
pub(crate) fn read(stage: &Stage) -> Result<Bytes> {
    let Stage { client, server, .. } = stage;
    let between = client.received_bytes("eth0")? + server.received_bytes("eth0")?;
    Ok([
        client.received_bytes("lo")?,
        between,
        server.received_bytes("lo")?,
    ])
}

/// Reads again and again while something runs.
pub(crate) fn watched<T>(
    stage: &Stage,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Vec<Reading>)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut readings = Vec::new();
            loop {
                let last = stop.load(Ordering::Relaxed);
                readings.push(Reading {
                    at: now(),
                    bytes: read(stage)?,
                });
                if last {
                    return anyhow::Ok(readings);
                }
                thread::sleep(TICK);
            }
        });
        let result = work();
        stop.store(true, Ordering::Relaxed);
        let readings = watcher
            .join()
            .map_err(|_| anyhow!("panic in a watcher"))??;
        Ok((result?, readings))
    })
}

/// The counters at a moment, between two readings in proportion.
pub(crate) fn at(readings: &[Reading], moment: u64) -> Option<[f64; HOPS.len()]> {
    let after = readings.iter().position(|reading| reading.at >= moment)?;
    let (from, to) = (readings.get(after.saturating_sub(1))?, readings.get(after)?);
    let float = |value: u64| {
        #[expect(clippy::cast_precision_loss, reason = "bytes of one run")]
        let value = value as f64;
        value
    };
    let share = if to.at > from.at {
        float(moment.saturating_sub(from.at)) / float(to.at - from.at)
    } else {
        1.0
    };
    let mut between = [0.0; HOPS.len()];
    for (hop, value) in between.iter_mut().enumerate() {
        let (from, to) = (float(from.bytes[hop]), float(to.bytes[hop]));
        *value = from + share * (to - from);
    }
    Some(between)
}

#[cfg(test)]
mod tests {
    use super::{Reading, at};

    #[test]
    fn between_two_readings() {
        let reading = |at, bytes| Reading { at, bytes };
        let readings = [reading(1000, [0, 100, 0]), reading(2000, [50, 200, 0])];
        assert_eq!(at(&readings, 1500), Some([25.0, 150.0, 0.0]));
        assert_eq!(at(&readings, 1000), Some([0.0, 100.0, 0.0]));
        assert_eq!(at(&readings, 2001), None);
    }
}

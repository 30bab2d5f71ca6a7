//! What the interfaces of each hop have received. They know nothing of us.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use sockway_common::pair::hop;
use sockway_testkit::mesh::pod::Pod;

use super::route::Route;
use crate::world::World;

/// The hops in the order of a request.
pub(crate) const HOPS: [u32; 3] = [hop::OUTBOUND, hop::INBOUND, hop::APP];

/// Bytes received, by hop.
pub(crate) type Bytes = [u64; HOPS.len()];

/// A part of an exchange.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Phase {
    /// `fetch` where the bytes go to the client, `send` where they go to the server, or another.
    pub(crate) name: &'static str,
    /// What the interfaces received meanwhile: payload, headers, acknowledgements.
    pub(crate) seen: Bytes,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Phase {
    /// Of what happens meanwhile.
    pub(crate) fn of<T>(
        name: &'static str,
        world: &World,
        route: Route,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<(Self, T)> {
        let (before, started) = (read(world, route)?, Instant::now());
        let result = work()?;
        let took = started.elapsed();
        let after = read(world, route)?;
        let seen = std::array::from_fn(|at| after[at] - before[at]);
        Ok((Self { name, seen, took }, result))
    }
}

/// Now.
pub(crate) fn read(world: &World, route: Route) -> Result<Bytes> {
    let World {
        client,
        server,
        plain_client,
        plain_server,
        ..
    } = world;
    let sum = |of: &[(&Pod, &str)]| {
        of.iter()
            .map(|(pod, interface)| pod.received_bytes(interface))
            .sum::<Result<u64>>()
    };
    let own = [(plain_server, "lo")];
    Ok(match route {
        Route::Mesh => [
            sum(&[(client, "lo")])?,
            sum(&[(client, "eth0"), (server, "eth0")])?,
            sum(&[(server, "lo")])?,
        ],
        Route::Inbound => [
            0,
            sum(&[(plain_client, "eth0"), (plain_server, "eth0")])?,
            0,
        ],
        Route::Outbound => [sum(&own)?, 0, 0],
        Route::App => [0, 0, sum(&own)?],
    })
}

/// The share of bytes that the interfaces no longer saw, 0 to 1; `None` where there were hardly any.
pub(crate) fn share(plain: u64, accelerated: u64) -> Option<f64> {
    const LEAST: u64 = 100_000;
    #[expect(
        clippy::cast_precision_loss,
        reason = "bytes of one exchange are far below 2^52"
    )]
    let left = accelerated as f64 / plain.max(1) as f64;
    (plain >= LEAST).then_some((1.0 - left).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares() {
        assert_eq!(share(1_000_000, 0), Some(1.0));
        assert_eq!(share(1_000_000, 250_000), Some(0.75));
        assert_eq!(share(1_000_000, 1_100_000), Some(0.0));
        assert_eq!(share(50_000, 0), None);
    }
}

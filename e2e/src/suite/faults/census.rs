//! What is left of connections that have ended.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use sockway_common::layout::{ENDS, PENDING, SOCKETS};
use sockway_datapath::{Registry, stats};
use sockway_testkit::mesh::pod::Pod;
use sockway_testkit::patience::until;

use crate::world::World;

/// How long the kernel may take to take the last of it apart: as long as an
/// orphan waits for the other end's FIN (`tcp_fin_timeout` of the pods), and some.
const PATIENCE: Duration = Duration::from_secs(10);

/// Counts of everything that a connection or a pod takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Census {
    /// Rows of the maps that grow with connections.
    rows: [(&'static str, usize); 3],
    /// Sockets that exist in a pod and that no process holds. Each owner of
    /// `state` that outlives its connection is one.
    unheld: Vec<(String, i64)>,
    /// Rows of `pods` and `sandboxes`.
    registered: [usize; 2],
}

impl Census {
    fn take(world: &World) -> Result<Self> {
        let pins = world.node.pins();
        let rows = |name| Ok((name, stats::rows(&pins, name)?));
        let count = |name| -> Result<_> { rows(name) };
        let registry = Registry::open(&pins)?;
        let unheld = world
            .all_pods()
            .map(|pod| Ok((pod.name.clone(), pod.unheld_sockets()?)));
        Ok(Self {
            rows: [count(SOCKETS)?, count(PENDING)?, count(ENDS)?],
            unheld: unheld.into_iter().collect::<Result<_>>()?,
            registered: [registry.pods()?.len(), registry.sandboxes()?.len()],
        })
    }

    /// True where nothing but the pods themselves is there.
    fn nothing_left(&self, pods: usize) -> bool {
        let Self {
            rows,
            unheld,
            registered,
        } = self;
        rows.iter().all(|(_, rows)| *rows == 0)
            && unheld.iter().all(|(_, sockets)| *sockets == 0)
            && *registered == [2 * pods, pods]
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rows,
            unheld,
            registered: [pods, sandboxes],
        } = self;
        for (map, rows) in rows {
            write!(f, "{rows} rows of {map}, ")?;
        }
        write!(f, "{pods} of pods, {sandboxes} of sandboxes")?;
        for (pod, sockets) in unheld {
            write!(f, ", {sockets} sockets of nobody in {pod}")?;
        }
        Ok(())
    }
}

/// Waits until nothing is left of any connection and only living pods are registered.
pub(super) fn nothing_left(world: &World) -> Result<()> {
    until(PATIENCE, || {
        let census = Census::take(world)?;
        let gone = census.nothing_left(world.all_pods().len());
        Ok(gone.then_some(()).ok_or_else(|| format!("left: {census}")))
    })
}

/// Waits until every connection has ended on both sides; how long that took.
pub(super) fn ended(world: &World, limit: Duration) -> Result<Duration> {
    let started = Instant::now();
    until(limit, || {
        let open = world.all_pods().map(Pod::unended);
        let open: usize = open.into_iter().sum::<Result<_>>()?;
        let seen = || format!("{open} connections have not ended");
        let ended = (open == 0).then(|| started.elapsed());
        Ok(ended.ok_or_else(seen))
    })
}

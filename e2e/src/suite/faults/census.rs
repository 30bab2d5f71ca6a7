//! What is left of connections that have ended.

use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use sockway_common::layout::{ENDS, PENDING, SOCKETS};
use sockway_datapath::{Registry, stats};
use sockway_testkit::stop;

use crate::world::World;

/// How long the kernel may take to take the last of it apart: as long as an
/// orphan waits for the other end's FIN (`tcp_fin_timeout` of the pods), and some.
const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(20);

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
    let started = Instant::now();
    loop {
        stop::check()?;
        let census = Census::take(world)?;
        if census.nothing_left(world.all_pods().len()) {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!("left after {} s: {census}", PATIENCE.as_secs());
        }
        sleep(TICK);
    }
}

/// Waits until every connection has ended on both sides; how long that took.
pub(super) fn ended(world: &World, limit: Duration) -> Result<Duration> {
    let started = Instant::now();
    loop {
        stop::check()?;
        let open = world
            .all_pods()
            .map(sockway_testkit::mesh::pod::Pod::unended);
        let open: usize = open.into_iter().sum::<Result<_>>()?;
        if open == 0 {
            return Ok(started.elapsed());
        }
        if started.elapsed() > limit {
            bail!("{open} connections have not ended in {} s", limit.as_secs());
        }
        sleep(TICK);
    }
}

//! What a scrape reads from the pinned maps and the kernel, all at once.

use std::fs;

use anyhow::Result;
use sockway_common::calls::Value as Calls;
use sockway_common::layout;
use sockway_datapath::{Error, Pins, calls, stats, switch};

use crate::view::figures::{self, Figures};
use crate::view::pods::{self, PodState};

/// Maps whose rows are counted.
const COUNTED: [&str; 5] = [
    layout::PODS,
    layout::SOCKETS,
    layout::PENDING,
    layout::ENDS,
    layout::PROGRAMS,
];

/// Sums and states at one time.
#[derive(Clone, Debug)]
pub struct Sums {
    /// What the programs counted.
    pub figures: Figures,
    /// The registered pods.
    pub pods: Vec<PodState>,
    /// Sockets in the sockhash: two for each accelerated connection.
    pub sockets: usize,
    /// How full maps are.
    pub fill: Vec<Fill>,
    /// Kernel memory of each map, in bytes.
    pub map_bytes: Vec<(&'static str, u64)>,
    /// Whether the node is switched off.
    pub off: bool,
    /// The plugin's calls.
    pub calls: Calls,
    /// Memory of the node's TCP sockets in bytes; `None` where the kernel does not say.
    pub tcp_bytes: Option<u64>,
}

/// How full a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Its name.
    pub map: &'static str,
    /// Rows in it.
    pub rows: u64,
    /// Rows that it can hold.
    pub capacity: u64,
}

impl Sums {
    /// Reads everything.
    ///
    /// # Errors
    ///
    /// Where a map is not there or cannot be read.
    pub fn read(pins: &Pins) -> Result<Self> {
        let pods = pods::gather(pins)?;
        let (stats, ends) = figures::read_with_ends(pins)?;
        let sockets = ends.joined;
        let rows = |map| match map {
            layout::SOCKETS => Ok(sockets),
            layout::ENDS => Ok(ends.all),
            layout::PODS => Ok(pods.iter().map(|pod| pod.ips.len()).sum()),
            other => stats::rows(pins, other),
        };
        let fill = COUNTED.into_iter().map(|map| {
            Ok(Fill {
                map,
                rows: rows(map)? as u64,
                capacity: u64::from(stats::capacity(pins, map)?),
            })
        });
        let fill = fill.collect::<Result<_, Error>>()?;
        let map_bytes = layout::MAPS
            .into_iter()
            .map(|map| Ok((map, stats::memory(pins, map)?)));
        Ok(Self {
            figures: Figures::from(&stats),
            sockets,
            fill,
            map_bytes: map_bytes.collect::<Result<_, Error>>()?,
            off: switch::is_off(pins)?,
            calls: calls::read(pins)?,
            tcp_bytes: fs::read_to_string("/proc/net/sockstat")
                .ok()
                .and_then(|text| tcp_bytes(&text)),
            pods,
        })
    }
}

/// Memory of TCP sockets from `/proc/net/sockstat`, which counts the pages of all network namespaces.
fn tcp_bytes(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|l| l.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem");
    let pages: u64 = words.nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()?;
    Some(pages * u64::try_from(page).ok()?)
}

#[cfg(test)]
mod tests {
    use super::tcp_bytes;

    #[test]
    fn memory_of_tcp() {
        let text =
            "sockets: used 290\nTCP: inuse 5 orphan 0 tw 2 alloc 6 mem 3\nUDP: inuse 2 mem 9\n";
        let bytes = tcp_bytes(text).unwrap();
        assert!(bytes >= 3 * 4096 && bytes.is_multiple_of(3), "{bytes}");
        assert_eq!(tcp_bytes("UDP: mem 9\n"), None);
        assert_eq!(tcp_bytes("TCP: inuse 5\n"), None);
    }
}

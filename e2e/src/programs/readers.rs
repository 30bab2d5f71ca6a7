//! What the datapath learnt of how a program's two ends read.

use anyhow::Result;
use sockway_common::addr::IpKey;
use sockway_common::reader::{CLIENT, ReaderRow, SERVER, fit, seen};
use sockway_datapath::stats;

use crate::bed::sidecar::vip;
use crate::world::World;

/// Words for the client's and the server's manner of reading.
pub(crate) fn of(world: &World, family: usize, port: u16) -> Result<[String; 2]> {
    let rows = stats::readers(&world.node.pins())?;
    let pod = IpKey::from(world.client.ips()[family]);
    let dialled = IpKey::from(vip(family, 10));
    let listens = IpKey::from(world.server.ips()[family]);
    let port = u32::from(port);
    let client = rows.iter().find(|(key, _)| {
        key.kind == CLIENT && key.port == port && key.ip == dialled && key.pod == pod
    });
    let server = rows
        .iter()
        .find(|(key, _)| key.kind == SERVER && key.port == port && key.ip == listens);
    Ok([client, server].map(|found| found.map_or_else(|| "-".to_owned(), |(_, row)| words(*row))))
}

fn words(row: ReaderRow) -> String {
    if fit(&row) {
        return "fit".to_owned();
    }
    let signs = [
        (seen::BLOCKING, "blocks"),
        (seen::OTHER_READ, "splices"),
        (seen::FIONREAD, "asks FIONREAD"),
        (seen::RCVLOWAT, "sets SO_RCVLOWAT"),
    ];
    let found = signs.iter().filter(|(bit, _)| row.seen & bit != 0);
    let found: Vec<_> = found.map(|(_, word)| *word).collect();
    if found.is_empty() && row.seen & seen::FIT != 0 {
        "short reads".to_owned()
    } else if found.is_empty() {
        format!("{} reads", row.reads)
    } else {
        found.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::words;
    use sockway_common::reader::{FIT_READS, ReaderRow, seen};

    #[test]
    fn manners_have_words() {
        let row = |seen, reads| ReaderRow {
            seen,
            reads,
            ends: 0,
            shorts: 0,
        };
        assert_eq!(words(row(seen::FIT, FIT_READS)), "fit");
        assert_eq!(words(row(seen::FIT | seen::BLOCKING, FIT_READS)), "blocks");
        assert_eq!(words(row(0, 3)), "3 reads");
        assert_eq!(words(row(seen::FIT | seen::EDGE, FIT_READS)), "short reads");
    }
}

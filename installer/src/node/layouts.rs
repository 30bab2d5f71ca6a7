//! Pins that another version's layout left: retired, drained, removed.

use anyhow::{Context, Result};
use serde::Serialize;
use sockway_datapath::{Datapath, Error, Pins, layouts, stats};

/// Another version's layout on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retired {
    /// Its directory under the root of the pins.
    pub layout: String,
    /// Sockets that are still accelerated by its programs; `None` where they cannot be counted.
    pub sockets_left: Option<usize>,
}

/// Detaches what other versions attached and removes what of them is no longer in use.
///
/// Connections that their programs accelerate go on: the layout stays for them, and goes with a
/// later call. Hands back what stays.
///
/// # Errors
///
/// Where pins cannot be listed or removed.
pub fn retire(pins: &Pins) -> Result<Vec<Retired>> {
    let root = pins.root();
    let others = pins
        .other_layouts()
        .with_context(|| format!("cannot read {}", root.display()))?;
    let mut left = Vec::new();
    for layout in others {
        let other = pins.of_layout(&layout);
        layouts::detach(&other)?;
        let sockets_left = match stats::sockets(&other) {
            Ok(sockets) => Some(sockets),
            // Taken off by a run that was killed before it was done.
            Err(Error::NotInstalled { .. }) => Some(0),
            Err(e) => {
                log::debug!("cannot count the sockets of layout {layout}: {e}");
                None
            }
        };
        if sockets_left == Some(0) {
            Datapath::remove(&other)?;
            log::info!("removed layout {layout} of another version, which is no longer in use");
        } else {
            left.push(Retired {
                layout,
                sockets_left,
            });
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::{Retired, retire};
    use sockway_datapath::Pins;
    use std::fs;

    #[test]
    fn links_go_at_once_and_the_rest_when_it_is_not_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::new(dir.path());
        assert!(retire(&pins).unwrap().is_empty());
        let other = dir.path().join("v77");
        fs::create_dir(&other).unwrap();
        fs::create_dir(dir.path().join("not-a-layout")).unwrap();
        for name in ["link_some_program", "sockets"] {
            fs::write(other.join(name), "").unwrap();
        }
        // What is no map cannot be counted, so it stays.
        let stays = Retired {
            layout: "v77".to_owned(),
            sockets_left: None,
        };
        assert_eq!(retire(&pins).unwrap(), [stays]);
        assert!(!other.join("link_some_program").exists());
        assert!(other.join("sockets").exists());
    }
}

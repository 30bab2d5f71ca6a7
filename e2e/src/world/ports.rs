//! Ports for servers: a new one each time, so that nothing the datapath learnt
//! of one case's server is applied to the next's.

use std::cell::RefCell;
use std::collections::HashMap;

use anyhow::{Result, ensure};
use sockway_testkit::mesh::sidecar::Protocol;

use super::Path;

/// Ports that the sidecars are configured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Range {
    /// Of the pod with a sidecar that serves.
    Server,
    /// Of the plain pod that serves.
    PlainServer,
    /// Of the pod that calls itself.
    Itself,
    /// Of the pod with a sidecar that serves, where HTTP is spoken.
    Http,
    /// As `Server`, with mutual TLS between the sidecars.
    Secure,
    /// As `Http`, with mutual TLS between the sidecars.
    SecureHttp,
    /// As `Itself`, with mutual TLS between the sidecar and itself.
    SecureItself,
}

impl Range {
    /// Every range.
    pub(crate) const ALL: [Self; 7] = [
        Self::Server,
        Self::PlainServer,
        Self::Itself,
        Self::Http,
        Self::Secure,
        Self::SecureHttp,
        Self::SecureItself,
    ];

    /// Where a path's servers listen; `secure`: with mutual TLS, where the path has both sidecars.
    pub(crate) const fn of(path: Path, secure: bool) -> Self {
        match (path, secure) {
            (Path::ThroughClients | Path::Direct, _) => Self::PlainServer,
            (Path::ToItself, false) => Self::Itself,
            (Path::ToItself, true) => Self::SecureItself,
            (_, false) => Self::Server,
            (_, true) => Self::Secure,
        }
    }

    /// Whether the sidecars of both ends speak mutual TLS.
    pub(crate) const fn secure(self) -> bool {
        matches!(self, Self::Secure | Self::SecureHttp | Self::SecureItself)
    }

    /// The ports.
    pub(crate) const fn ports(self) -> std::ops::Range<u16> {
        match self {
            Self::Server => 9000..9060,
            Self::PlainServer => 9100..9110,
            Self::Itself => 9200..9205,
            Self::Http => 9300..9312,
            Self::Secure => 9400..9420,
            Self::SecureHttp => 9500..9512,
            Self::SecureItself => 9600..9605,
        }
    }

    /// What is spoken there.
    pub(crate) const fn protocol(self) -> Protocol {
        match self {
            Self::Http | Self::SecureHttp => Protocol::Http,
            _ => Protocol::Tcp,
        }
    }
}

/// How many of each range are used up.
#[derive(Debug, Default)]
pub(crate) struct Ports(RefCell<HashMap<Range, u16>>);

impl Ports {
    /// The next one.
    pub(crate) fn next(&self, range: Range) -> Result<u16> {
        let mut used = self.0.borrow_mut();
        let used = used.entry(range).or_default();
        let port = range.ports().start + *used;
        ensure!(
            range.ports().contains(&port),
            "more cases than ports in {range:?}: widen it"
        );
        *used += 1;
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ports, Range};

    #[test]
    fn ports_run_out_and_ranges_do_not_overlap() {
        let ports = Ports::default();
        for range in Range::ALL {
            for port in range.ports() {
                assert_eq!(ports.next(range).expect("one is left"), port);
                let others = Range::ALL.into_iter().filter(|other| *other != range);
                assert!(
                    others
                        .into_iter()
                        .all(|other| !other.ports().contains(&port))
                );
            }
            assert!(ports.next(range).is_err());
        }
    }
}

//! What a soak is made of: every path, in every manner of connecting.

use crate::world::{Path, Traffic, WHOLE};

/// Connections at a time of blocking applications, which take two threads each.
const BLOCKING: &str = "32";
/// Service addresses that one local port is used towards.
const VIPS: u8 = 20;

/// One path in one manner.
pub(super) struct Part {
    /// Its name.
    pub(super) name: &'static str,
    /// Of all connections, so many thousandths.
    pub(super) share: u32,
    /// What is done.
    pub(super) traffic: Traffic<'static>,
}

/// All of them.
pub(super) fn parts() -> Vec<Part> {
    let part = |name, share, traffic| Part {
        name,
        share,
        traffic,
    };
    let new = Traffic::new;
    let both = |family| new(Path::ThroughBoth, family);
    let secure = |family| Traffic {
        secure: true,
        client: WHOLE,
        ..both(family)
    };
    let ports = ["--source-ports", "10000-11999"].as_slice();
    vec![
        part("direct-v4", 50, new(Path::Direct, 0)),
        part("direct-v6", 50, new(Path::Direct, 1)),
        part("one-envoy-in-v4", 80, new(Path::ThroughServers, 0)),
        part("one-envoy-in-v6", 80, new(Path::ThroughServers, 1)),
        part("one-envoy-out-v4", 80, new(Path::ThroughClients, 0)),
        part("one-envoy-out-v6", 80, new(Path::ThroughClients, 1)),
        part("two-envoys-v4", 80, both(0)),
        part("two-envoys-v6", 80, both(1)),
        part("two-envoys-mtls-v4", 50, secure(0)),
        part("two-envoys-mtls-v6", 50, secure(1)),
        part(
            "two-envoys-mapped",
            50,
            Traffic {
                client: &["--mapped"],
                ..both(0)
            },
        ),
        part(
            "two-envoys-server-speaks-first",
            60,
            Traffic {
                listen: ("[::]", ",greet"),
                client: &["--greet"],
                ..both(0)
            },
        ),
        part(
            "two-envoys-deferred-accept",
            60,
            Traffic {
                listen: ("[::]", ",defer"),
                ..both(0)
            },
        ),
        part(
            "two-envoys-reused-ports",
            60,
            Traffic {
                client: ports,
                vips: VIPS,
                ..both(0)
            },
        ),
        part("itself-v4", 50, new(Path::ToItself, 0)),
        part(
            "two-envoys-blocking",
            40,
            Traffic {
                server: &["--blocking"],
                client: &["--blocking", "--concurrency", BLOCKING],
                ..both(0)
            },
        ),
    ]
}

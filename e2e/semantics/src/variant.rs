//! The ways in which a case is run.

use serde::{Deserialize, Serialize};

/// How the application under test uses its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Style {
    /// With `O_NONBLOCK` from the first moment, waiting in `poll`.
    NonBlocking,
    /// Waiting inside the calls.
    Blocking,
}

/// Which end of the connection the application is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// It accepts.
    Server,
    /// It connects.
    Client,
}

/// A style and a role: one column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Kind {
    /// How it uses its sockets.
    pub(crate) style: Style,
    /// Which end it is.
    pub(crate) role: Role,
}

/// A set of [`Kind`]s: bits in the order of [`Kind::ALL`].
pub(crate) type Kinds = u8;

impl Kind {
    /// Every kind, in the order of the table's columns.
    pub(crate) const ALL: [Self; 4] = [
        Self {
            style: Style::NonBlocking,
            role: Role::Server,
        },
        Self {
            style: Style::Blocking,
            role: Role::Server,
        },
        Self {
            style: Style::NonBlocking,
            role: Role::Client,
        },
        Self {
            style: Style::Blocking,
            role: Role::Client,
        },
    ];

    /// All kinds.
    pub(crate) const EVERY: Kinds = 0b1111;
    /// Non-blocking applications.
    pub(crate) const NONBLOCKING: Kinds = 0b0101;
    /// Blocking applications.
    pub(crate) const BLOCKING: Kinds = 0b1010;
    /// Applications that accept.
    pub(crate) const SERVERS: Kinds = 0b0011;
    /// Applications that connect.
    pub(crate) const CLIENTS: Kinds = 0b1100;

    /// Whether `set` has this kind.
    pub(crate) fn is_in(self, set: Kinds) -> bool {
        Self::ALL
            .iter()
            .position(|&kind| kind == self)
            .is_some_and(|bit| set & (1 << bit) != 0)
    }

    /// The column's heading.
    pub(crate) const fn name(self) -> &'static str {
        match (self.style, self.role) {
            (Style::NonBlocking, Role::Server) => "nb server",
            (Style::Blocking, Role::Server) => "bl server",
            (Style::NonBlocking, Role::Client) => "nb client",
            (Style::Blocking, Role::Client) => "bl client",
        }
    }
}

/// The addresses that the application's socket uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Family {
    /// IPv4 on `AF_INET`.
    V4,
    /// IPv6.
    V6,
    /// IPv4 on an `AF_INET6` socket of the application; Envoy's is `AF_INET`.
    Mapped,
}

impl Family {
    /// What is added to a case's name.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::V4 => "",
            Self::V6 => " (v6)",
            Self::Mapped => " (v4-mapped)",
        }
    }
}

/// Where on a request's way the connection under test is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Hop {
    /// From 127.0.0.6 or `::6` to the pod's own address.
    App,
    /// From the pod's address to 127.0.0.1:15001 or `[::1]:15001`.
    Outbound,
    /// From another pod's address to the pod's, port 15006.
    Inbound,
    /// From the pod's address to 127.0.0.1:15006 or `[::1]:15006`.
    SelfInbound,
}

impl Hop {
    /// Where applications are found in a mesh; at its other end, and elsewhere, Envoy is.
    pub(crate) const fn usual(role: Role) -> Self {
        match role {
            Role::Server => Self::App,
            Role::Client => Self::Outbound,
        }
    }

    /// The word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::SelfInbound => "self-inbound",
        }
    }
}

/// How the connection under test is carried, and what is known of its ends.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Outside the cgroup that the programs are attached to.
    Plain,
    /// Scope `auto`, known: both ends read to the end, then the case itself was seen.
    Auto,
    /// Scope `auto`, known to read to the end; the case's own calls are new.
    Sudden,
    /// Scope `auto`, nothing known: what is open comes in while the case goes on.
    Cold,
    /// Scope `auto`, nearly known: the connection turns out fit, and comes in, after a few reads of it.
    Turning,
    /// Scope `auto`; the end under test is known to stop short when it is told of an arrival, so
    /// that at most what it sends is redirected.
    Half,
    /// Scope `auto`; what a case connects is older than the registration, and is brought in before
    /// the case begins.
    Late,
    /// Scope `all`: redirected at once.
    All,
}

/// A hop and a mode in which an end is put under test; a column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Variant {
    /// Which end of the hop it is.
    pub(crate) role: Role,
    /// Where.
    pub(crate) hop: Hop,
    /// How.
    pub(crate) mode: Mode,
    /// Styles: only non-blocking ends are ever brought in late, or a half.
    pub(crate) blocking: bool,
}

impl Variant {
    const fn new(role: Role, hop: Hop, mode: Mode) -> Self {
        let blocking = matches!(mode, Mode::Auto | Mode::Cold);
        Self {
            role,
            hop,
            mode,
            blocking,
        }
    }

    /// For information: nobody is asked there.
    pub(crate) const fn everything(role: Role) -> Self {
        Self::new(role, Hop::usual(role), Mode::All)
    }

    /// Every hop by every end by every mode that is not in the table's first columns.
    pub(crate) fn all() -> Vec<Self> {
        const HOPS: [Hop; 4] = [Hop::App, Hop::Outbound, Hop::Inbound, Hop::SelfInbound];
        const MODES: [Mode; 6] = [
            Mode::Auto,
            Mode::Sudden,
            Mode::Cold,
            Mode::Turning,
            Mode::Half,
            Mode::Late,
        ];
        let mut all = Vec::new();
        for role in [Role::Server, Role::Client] {
            for mode in MODES {
                let hops = HOPS
                    .into_iter()
                    .filter(|&hop| mode != Mode::Auto || hop != Hop::usual(role));
                all.extend(hops.map(|hop| Self::new(role, hop, mode)));
            }
        }
        all
    }

    /// Whether it is for that kind.
    pub(crate) fn is_for(self, kind: Kind) -> bool {
        kind.role == self.role && (self.blocking || kind.style == Style::NonBlocking)
    }

    /// What it is called in results.
    pub(crate) fn name_of(role: Role, hop: Hop, mode: Mode) -> String {
        let role = match role {
            Role::Server => "server",
            Role::Client => "client",
        };
        format!("{} {role}, {}", hop.name(), mode.name())
    }
}

impl Mode {
    /// The word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Auto => "auto",
            Self::Sudden => "sudden",
            Self::Cold => "cold",
            Self::Turning => "turning",
            Self::Half => "half",
            Self::Late => "late",
            Self::All => "all",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Hop, Kind, Mode, Variant};

    #[test]
    fn sets_are_in_the_order_of_the_columns() {
        let names = |set| {
            let inside = Kind::ALL.into_iter().filter(|kind| kind.is_in(set));
            inside.map(Kind::name).collect::<Vec<_>>()
        };
        assert_eq!(names(Kind::NONBLOCKING), ["nb server", "nb client"]);
        assert_eq!(names(Kind::BLOCKING), ["bl server", "bl client"]);
        assert_eq!(names(Kind::SERVERS), ["nb server", "bl server"]);
        assert_eq!(names(Kind::CLIENTS), ["nb client", "bl client"]);
        assert_eq!(names(Kind::EVERY).len(), 4);
    }

    #[test]
    fn every_end_of_every_hop_in_every_mode_once() {
        let mut all = Variant::all();
        assert_eq!(all.len(), 2 * 4 * 6 - 2);
        assert!(
            all.iter()
                .all(|v| v.mode != Mode::Auto || v.hop != Hop::usual(v.role))
        );
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 2 * 4 * 6 - 2);
    }
}

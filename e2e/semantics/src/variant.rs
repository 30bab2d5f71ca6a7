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
    /// It accepts from its Envoy: hop `app`.
    Server,
    /// It connects to its Envoy: hop `outbound`.
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

/// How the connection under test is carried.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Outside the cgroup that the programs are attached to.
    Plain,
    /// Scope `auto`, after connections of the same kind were watched.
    Auto,
    /// Scope `auto`, but the case's own calls are new to the address.
    Sudden,
    /// Scope `auto`, after the same; what a case connects is open before it takes part.
    Late,
    /// Scope `all`: redirected at once.
    All,
}

impl Mode {
    /// The word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Auto => "auto",
            Self::Sudden => "sudden",
            Self::Late => "late",
            Self::All => "all",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

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
}

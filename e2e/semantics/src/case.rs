//! A case: one promise of TCP sockets and how to look at it.

use std::time::Duration;

use anyhow::Result;

use crate::scene::Scene;
use crate::variant::{Family, Kind, Kinds};

/// What the connections that come before the one under test are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warmup {
    /// The case itself so many times, then plain echo: an application that always did so.
    Same(u32),
    /// Plain echo only: an application that does so for the first time.
    Echo,
    /// The same run so often before anything else: its ways show before it can be known.
    First(u32),
}

/// One promise.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// Unique, short.
    pub(crate) name: &'static str,
    /// What is promised and where that is written.
    pub(crate) promise: &'static str,
    /// The kinds of application it is for.
    pub(crate) kinds: Kinds,
    /// The address families it is run with.
    pub(crate) families: &'static [Family],
    /// What comes before.
    pub(crate) warmup: Warmup,
    /// Kinds whose connection must be accelerated in scope `auto`: otherwise nothing is shown.
    pub(crate) accelerated: Kinds,
    /// How long a run may take, warm-up included, before it counts as a hang.
    pub(crate) limit: Duration,
    /// The case itself.
    pub(crate) run: fn(&mut Scene) -> Result<()>,
}

impl Case {
    /// For every kind, on IPv4 and IPv6, accelerated for non-blocking applications.
    pub(crate) const fn new(
        name: &'static str,
        promise: &'static str,
        run: fn(&mut Scene) -> Result<()>,
    ) -> Self {
        Self {
            name,
            promise,
            kinds: Kind::EVERY,
            families: &[Family::V4, Family::V6],
            warmup: Warmup::Same(2),
            accelerated: Kind::NONBLOCKING,
            limit: Duration::from_secs(25),
            run,
        }
    }

    /// Only for these kinds.
    pub(crate) const fn only(self, kinds: Kinds) -> Self {
        Self {
            kinds: self.kinds & kinds,
            ..self
        }
    }

    /// On v4-mapped addresses too.
    pub(crate) const fn every_family(self) -> Self {
        Self {
            families: &[Family::V4, Family::V6, Family::Mapped],
            ..self
        }
    }

    /// May be left to TCP: the calls are among those that give an application away.
    pub(crate) const fn may_be_left(self) -> Self {
        Self {
            accelerated: 0,
            ..self
        }
    }

    /// Goes about it like this from its first byte on.
    pub(crate) const fn shown_first(self) -> Self {
        Self {
            warmup: Warmup::First(2),
            ..self.may_be_left()
        }
    }

    /// Only on IPv4.
    pub(crate) const fn only_v4(self) -> Self {
        Self {
            families: &[Family::V4],
            ..self
        }
    }

    /// An application that was found fit changes its ways. Only non-blocking ones are ever found fit. None of
    /// these cases takes long, and one hangs.
    pub(crate) const fn changes(self) -> Self {
        Self {
            limit: Duration::from_secs(10),
            ..self
                .only(Kind::NONBLOCKING)
                .may_be_left()
                .for_the_first_time()
        }
    }

    /// Takes seconds: one warm-up run is enough.
    pub(crate) const fn slow(self) -> Self {
        Self {
            warmup: Warmup::Same(1),
            limit: Duration::from_mins(1),
            ..self
        }
    }

    /// The address was only seen to echo before.
    pub(crate) const fn for_the_first_time(self) -> Self {
        Self {
            warmup: Warmup::Echo,
            ..self
        }
    }
}

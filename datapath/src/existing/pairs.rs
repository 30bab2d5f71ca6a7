//! Finding the two ends of a connection, and whether it may be brought in.

use std::collections::HashMap;

use sockway_common::addr::IpKey;
use sockway_common::counters::Reason;
use sockway_common::existing::{JoinRow, Seen, fact, step};
use sockway_common::pair::{ENVOY_UID, ReaderKey, classify, hop, passive_pod};
use sockway_common::pod::PodRow;
use sockway_common::reader::{self, CLIENT, ReaderRow, SERVER, seen};
use sockway_common::scope;
use sockway_common::state::flag;

/// A socket and the namespace it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Index of the namespace.
    pub(super) place: usize,
    /// What was seen of it.
    pub(super) seen: Seen,
}

/// Two ends of one connection, and what is to be done with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// The connecting end.
    pub(super) active: Seen,
    /// The accepted end.
    pub(super) passive: Seen,
    /// What both ends get to know; see [`Pair::rows`].
    common: JoinRow,
    /// Flags of both ends beside those of their roles.
    faces_app: u32,
    /// Flags of the active end.
    active_flags: u32,
    /// Flags of the passive end.
    passive_flags: u32,
    /// An application's end, of whose address not enough is known: to be watched only.
    pub(super) observe: bool,
}

impl Pair {
    /// Both cookies, the connecting end's first.
    pub(super) fn cookies(&self) -> [u64; 2] {
        [self.active.cookie, self.passive.cookie]
    }

    /// True where both ends are watched already.
    pub(super) fn is_watched(&self) -> bool {
        self.active.flags & self.passive.flags & flag::OBSERVED != 0
    }

    /// The rows of both ends for a [`step`].
    pub(super) fn rows(&self, step: u32) -> [(u64, JoinRow); 2] {
        let row = |own: &Seen, peer: &Seen, flags| {
            let row = JoinRow {
                peer_cookie: peer.cookie,
                peer_sock: peer.sock,
                flags: self.faces_app | flags,
                step,
                ..self.common
            };
            (own.cookie, row)
        };
        [
            row(&self.active, &self.passive, self.active_flags),
            row(&self.passive, &self.active, self.passive_flags),
        ]
    }
}

/// True for sockets that may be brought in: unknown, watched only, or held by an earlier run.
pub(super) fn free(seen: &Seen) -> bool {
    seen.facts & fact::KNOWN == 0 || seen.flags & (flag::OBSERVED | flag::HELD) != 0
}

/// What decides: registered pods, and how applications read.
pub(super) struct Policy {
    /// Rows of `pods`.
    pub(super) pods: HashMap<IpKey, PodRow>,
    /// Rows of `readers`.
    pub(super) readers: HashMap<ReaderKey, ReaderRow>,
}

impl Policy {
    /// The hop that a socket ends as the accepted end, and whose registration says so.
    pub(super) fn hop(&self, passive: &Seen) -> Option<(u32, IpKey, &PodRow)> {
        let pod = passive_pod(passive.local, passive.remote)?;
        let row = self.pods.get(&pod)?;
        let port = u16::try_from(passive.local_port).ok()?;
        match classify(passive.local, port, passive.remote, row) {
            hop::NONE => None,
            hop => Some((hop, pod, row)),
        }
    }

    /// Judges two ends, whichever connected. `None`: no registration speaks of them.
    pub(super) fn judge(&self, a: &End, b: &End) -> Option<Result<Pair, Reason>> {
        match (self.judge_as(a, b), self.judge_as(b, a)) {
            (Some(judged), None) | (None, Some(judged)) => Some(judged),
            // Both ways round: it cannot be told who connected.
            _ => None,
        }
    }

    fn judge_as(&self, active: &End, passive: &End) -> Option<Result<Pair, Reason>> {
        let (hop, pod, row) = self.hop(&passive.seen)?;
        // Beside the numbers. REDIRECT rewrites where a connection goes and sometimes its source
        // port, never its source address, and takes no part in Envoy to application; only
        // Envoy to Envoy crosses namespaces.
        let (from, to) = (&active.seen, &passive.seen);
        let as_sent = (from.remote, from.remote_port, from.local_port)
            == (to.local, to.local_port, to.remote_port);
        if from.local != to.remote
            || (hop == hop::APP && !as_sent)
            || (hop != hop::INBOUND && active.place != passive.place)
        {
            return None;
        }
        Some(self.qualify(&active.seen, &passive.seen, hop, pod, row))
    }

    /// The rules of `sock_ops` (ebpf/src/establish.rs), and never a socket that blocks.
    fn qualify(
        &self,
        active: &Seen,
        passive: &Seen,
        hop: u32,
        pod: IpKey,
        row: &PodRow,
    ) -> Result<Pair, Reason> {
        let own = self.pods.get(&active.local);
        let scope = match own {
            Some(own) if hop == hop::INBOUND => scope::stricter(row.scope, own.scope),
            _ => row.scope,
        };
        let envoy = match hop {
            hop::OUTBOUND => false,
            hop::INBOUND => active.uid == ENVOY_UID,
            _ => true,
        };
        if scope == scope::OFF || (scope == scope::PROXY && (hop != hop::INBOUND || !envoy)) {
            return Err(Reason::Scope);
        }
        let any = |bit| (active.facts | passive.facts) & bit != 0;
        let all = |bit| active.facts & passive.facts & bit != 0;
        if any(fact::ULP) {
            return Err(Reason::Ulp);
        }
        if !all(fact::NONBLOCKING) {
            return Err(Reason::Blocking);
        }
        if any(fact::TCP_ONLY) {
            return Err(Reason::Guarded);
        }
        let mut app = ReaderKey::default();
        if scope == scope::AUTO && hop == hop::APP {
            app = ReaderKey {
                ip: passive.local,
                pod: IpKey::default(),
                owner: row.owner,
                port: passive.local_port,
                kind: SERVER,
            };
        } else if scope == scope::AUTO && !envoy {
            app = ReaderKey {
                ip: active.remote,
                pod: active.local,
                owner: own.map(|own| own.owner).unwrap_or_default(),
                port: active.remote_port,
                kind: CLIENT,
            };
        }
        let observe = app.kind != 0 && !self.fit(&app)?;
        let (mut active_flags, mut passive_flags) = (flag::ACTIVE, 0);
        if !envoy {
            active_flags |= flag::APP_END;
        }
        if hop == hop::APP {
            passive_flags |= flag::APP_END;
        }
        let faces_app = if !envoy || hop == hop::APP {
            flag::FACES_APP
        } else {
            0
        };
        let common = JoinRow {
            pod,
            reader: app,
            hop,
            scope,
            step: step::HOLD,
            ..JoinRow::default()
        };
        Ok(Pair {
            active: *active,
            passive: *passive,
            common,
            faces_app,
            active_flags,
            passive_flags,
            observe,
        })
    }

    /// An application takes part only once its address is known as fit; false before.
    fn fit(&self, app: &ReaderKey) -> Result<bool, Reason> {
        let row = self.readers.get(app).copied().unwrap_or_default();
        if row.seen & seen::BLOCKING != 0 {
            Err(Reason::Blocking)
        } else if row.seen & seen::UNFIT != 0 {
            Err(Reason::Guarded)
        } else {
            Ok(reader::fit(&row))
        }
    }
}

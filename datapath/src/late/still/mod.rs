//! The tripwire's look: redirected queues that stand still although their readers ask for bytes.
//!
//! Where redirection works that cannot be: what is put into the queue wakes the reader. A reader that
//! does not ask (a paused process, a proxy whose other side is full) is no fault: TCP's queue would
//! stand still as well. So the reader has to be seen asking ([`asks`]), again and again for the whole
//! time ([`rule`]).
//!
//! From outside it can only be seen that an end does not [rest](sockway_common::order::seen::RESTS):
//! bytes wait in its queue, or a call on the *other* end is under way. So the threads of the other end's
//! processes must have been seen outside of such a call since.

mod asks;
mod rule;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aya::maps::{HashMap as Rows, MapData};
use sockway_common::addr::IpKey;
use sockway_common::end::EndRow;
use sockway_common::order::{DONE, seen, what};

use super::holders::{self, Holders, numbers};
use super::order::{self, Runner};
use super::{Namespaces, rest};
use crate::Error;
use rule::Suspect;

/// Suspects at most at a time: of more the next round sees those that are left.
const MOST: usize = 256;

/// An end whose redirected queue stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stood {
    /// The addresses whose registrations speak for the end, and for the other one.
    pub pods: [IpKey; 2],
    /// The end's own address.
    pub local: SocketAddr,
    /// The other end's, as this one sees it.
    pub remote: SocketAddr,
    /// Who should read, as `name[pid]`.
    pub programs: Vec<String>,
    /// For how long bytes have waited.
    pub time: Duration,
}

/// Who holds both ends of a suspect.
#[derive(Debug)]
struct Held {
    inode: u64,
    readers: Vec<u32>,
    /// Threads at the other end that were not seen outside of a call on it yet.
    others: HashSet<(u32, u32)>,
}

#[derive(Debug)]
struct Watched {
    suspect: Suspect,
    held: Option<Held>,
    turn: u64,
}

/// What is watched on one node.
#[derive(Debug)]
pub(super) struct Still {
    after: Duration,
    proc: PathBuf,
    turn: u64,
    rounds: u64,
    began: Instant,
    /// Ends that could stand still, counted in this pass, and those of them that are looked at.
    ends: usize,
    due: Vec<(u64, EndRow)>,
    watched: HashMap<u64, Watched>,
    /// Told of, and still not read; with the last pass that saw their rows.
    told: HashMap<u64, u64>,
}

impl Still {
    /// `after`: how long a queue may stand still.
    pub(super) fn new(after: Duration, proc: PathBuf) -> Self {
        Self {
            after,
            proc,
            turn: 0,
            // Until it is known how many ends there are: a start is busy enough.
            rounds: 32,
            began: Instant::now(),
            ends: 0,
            due: Vec::new(),
            watched: HashMap::new(),
            told: HashMap::new(),
        }
    }

    /// Whether somebody is watched.
    pub(super) fn suspects(&self) -> bool {
        !self.watched.is_empty()
    }

    /// How long may be between two passes.
    pub(super) fn longest(&self) -> Duration {
        self.after / 4
    }

    /// A pass sees an end.
    pub(super) fn note(&mut self, cookie: u64, row: &EndRow) {
        if row.joined == 0 || row.open == 0 || row.leaves != 0 || row.peer == 0 {
            return;
        }
        self.ends += 1;
        if let Some(turn) = self.told.get_mut(&cookie) {
            *turn = self.turn;
        }
        let watched = self.watched.get_mut(&cookie).map(|w| w.turn = self.turn);
        if watched.is_some() || rule::is_due(cookie, self.turn, self.rounds) {
            self.due.push((cookie, *row));
        }
    }

    /// The pass has seen every end: looks at those whose turn it is; who stands still.
    pub(super) fn look(
        &mut self,
        runner: &Runner,
        ends: &Rows<MapData, u64, EndRow>,
        namespaces: Namespaces<'_>,
    ) -> Result<Vec<Stood>, Error> {
        let now = Instant::now();
        let turn = self.turn;
        self.watched.retain(|_, watched| watched.turn == turn);
        self.told.retain(|_, seen| *seen == turn);
        let due = std::mem::take(&mut self.due);
        let mut asked = Vec::new();
        // Nobody can be seen asking: then there is nothing to look for.
        if rest::require_sight(&self.proc).is_ok() {
            for (cookie, row) in due {
                if self.waits(runner, ends, cookie, &row, now)? {
                    asked.push((cookie, row));
                }
            }
        }
        self.find_holders(runner, ends, namespaces, &asked)?;
        let stood = asked
            .iter()
            .filter_map(|(cookie, row)| self.judge(ends, *cookie, row, now))
            .collect();
        let between = now.duration_since(self.began);
        self.rounds = rule::rounds(self.ends, self.after, between);
        (self.began, self.ends, self.turn) = (now, 0, self.turn.wrapping_add(1));
        Ok(stood)
    }

    /// Whether bytes seem to wait at an end, and it is time to look at its reader.
    fn waits(
        &mut self,
        runner: &Runner,
        ends: &Rows<MapData, u64, EndRow>,
        cookie: u64,
        row: &EndRow,
        now: Instant,
    ) -> Result<bool, Error> {
        let mut check = order::by_cookie(what::CHECK, cookie);
        runner.run(&mut check)?;
        if check.result != DONE || check.seen & seen::RESTS != 0 {
            self.watched.remove(&cookie);
            self.told.remove(&cookie);
            return Ok(false);
        }
        let sent = ends.get(&row.peer, 0).map_or(0, |peer| peer.redirected);
        let (figures, after, turn) = ([sent, row.received], self.after, self.turn);
        if let Some(watched) = self.watched.get_mut(&cookie) {
            return Ok(watched.suspect.waits(now, figures, after));
        }
        if self.watched.len() < MOST && !self.told.contains_key(&cookie) {
            let suspect = Suspect::new(now, figures, after);
            let held = None;
            self.watched.insert(
                cookie,
                Watched {
                    suspect,
                    held,
                    turn,
                },
            );
        }
        Ok(false)
    }

    /// Finds out who holds both ends of suspects of which that is not known yet: once for each, for it
    /// means a look at every descriptor of the node.
    fn find_holders(
        &mut self,
        runner: &Runner,
        ends: &Rows<MapData, u64, EndRow>,
        namespaces: Namespaces<'_>,
        asked: &[(u64, EndRow)],
    ) -> Result<(), Error> {
        let mut looks = Vec::new();
        for (cookie, row) in asked {
            if self.watched.get(cookie).is_none_or(|w| w.held.is_some()) {
                continue;
            }
            let Ok(peer) = ends.get(&row.peer, 0) else {
                continue;
            };
            looks.push((row.netns, order::of(what::LOOK, *cookie, row)));
            looks.push((peer.netns, order::of(what::LOOK, row.peer, &peer)));
        }
        if looks.is_empty() {
            return Ok(());
        }
        let answers = runner.run_in(namespaces, looks)?;
        let inodes: HashMap<u64, u64> = answers
            .iter()
            .filter(|answer| answer.result == DONE && answer.inode != 0)
            .map(|answer| (answer.cookie, answer.inode))
            .collect();
        let mut holders = Holders::default();
        holders.add(&self.proc, &inodes.values().copied().collect());
        for (cookie, row) in asked {
            let Some(watched) = self.watched.get_mut(cookie) else {
                continue;
            };
            if watched.held.is_none() {
                let pair = (inodes.get(cookie), inodes.get(&row.peer));
                watched.held = held(&self.proc, &mut holders, pair);
            }
        }
        Ok(())
    }

    /// Looks at a suspect's reader; what is told where its queue stands still.
    fn judge(
        &mut self,
        ends: &Rows<MapData, u64, EndRow>,
        cookie: u64,
        row: &EndRow,
        now: Instant,
    ) -> Option<Stood> {
        let proc = &self.proc;
        let watched = self.watched.get_mut(&cookie)?;
        // Of whom nobody knows who holds it, nobody knows that it asks.
        let asks = watched.held.as_mut().is_some_and(|held| held.asks(proc));
        let still = watched.suspect.looked_at(now, asks, self.after);
        let held = watched.held.as_ref()?;
        if !still || !held.others.is_empty() || !held.tcp_is_empty(proc) {
            return None;
        }
        let inodes = HashMap::from([(cookie, held.inode)]);
        let stood = Stood {
            pods: [row.pod, ends.get(&row.peer, 0).map_or(row.pod, |p| p.pod)],
            local: SocketAddr::new(row.local.into(), row.local_port),
            remote: SocketAddr::new(row.remote.into(), row.remote_port),
            programs: holders::names(proc, &inodes)
                .remove(&cookie)
                .unwrap_or_default(),
            time: watched.suspect.time(now),
        };
        self.watched.remove(&cookie);
        self.told.insert(cookie, self.turn.wrapping_add(1));
        Some(stood)
    }
}

impl Held {
    /// Whether a thread asks now; notes which threads at the other end are outside of a call.
    fn asks(&mut self, proc: &Path) -> bool {
        let others = &mut self.others;
        others.retain(|&(pid, thread)| !rest::at_rest(proc, pid, thread));
        self.readers.iter().any(|&pid| {
            threads(proc, pid).any(|(pid, thread)| asks::thread(proc, pid, thread, self.inode))
        })
    }

    fn tcp_is_empty(&self, proc: &Path) -> bool {
        let mut readers = self.readers.iter();
        readers.any(|&pid| asks::tcp_is_empty(proc, pid, self.inode))
    }
}

/// Who holds the end and the other one, of which the inode numbers are given.
fn held(proc: &Path, holders: &mut Holders, pair: (Option<&u64>, Option<&u64>)) -> Option<Held> {
    let (inode, other) = (*pair.0?, *pair.1?);
    let readers = holders.of(proc, inode)?.to_vec();
    let others = holders.of(proc, other)?.iter();
    Some(Held {
        inode,
        readers,
        others: others.flat_map(|&pid| threads(proc, pid)).collect(),
    })
}

fn threads(proc: &Path, pid: u32) -> impl Iterator<Item = (u32, u32)> + use<> {
    numbers(&proc.join(format!("{pid}/task"))).map(move |thread| (pid, thread))
}

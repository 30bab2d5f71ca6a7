//! Bringing ends in late, and letting them out again.
//!
//! `sock_ops` may put a socket into the sockhash only when it is established, and then its program
//! may not be known yet. What is open when its ends turn out to qualify comes in here; connections
//! older than the programs are the same case, once they have been found (`adopt`).
//!
//! 1. *Join.* The program `sockway_late` looks the socket up in its network namespace, asks the
//!    policy again and puts it into the sockhash, *closed*: it sends by redirection where rule 1
//!    allows, and is sent to by TCP.
//! 2. *Rest.* A thread that entered `recv` before goes on with TCP's own `tcp_recvmsg`. When every
//!    thread of every process that holds the socket was seen in another call since, asleep or by the
//!    programs, no such call can be under way (`rest`, `callers`).
//! 3. *Open.* From here on the other end's sends may be redirected to it.
//!
//! Leaving is the mirror (`leave`): closed first, so that nothing more is redirected to it, then
//! out as soon as its queue is empty and no call is under way.
//!
//! Whoever is killed between two steps leaves sockets that are joined and closed: they read by
//! TCP, and the next run opens them or takes them out. Nothing is held in user space.

mod adopt;
mod alone;
mod callers;
mod calm;
mod events;
mod fair;
mod holders;
mod leave;
mod numbers;
mod off;
mod order;
mod pairs;
mod pass;
mod rest;
mod sockets;
mod still;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aya::maps::{HashMap as Rows, Map, MapData};
use sockway_common::config::Config;
use sockway_common::counters::Reason;
use sockway_common::end::EndRow;
use sockway_common::layout::ENDS;
use sockway_common::order::{DONE, Order, what};

use crate::stats::{map_error, open};
use crate::{Error, Pins, loaded, sys};
pub use adopt::Adopted;
use alone::Alone;
use callers::Callers;
use calm::Calm;
pub use events::{Events, Told};
use fair::Fair;
pub use holders::holders;
pub use leave::{Left, leave_all};
use off::Off;
use order::Runner;
pub use pass::next_pass;
use rest::Resting;
use still::Still;
pub use still::Stood;

/// Opens network namespaces, of which the inode numbers are given, as far as they are to be had.
pub type Namespaces<'a> = &'a (dyn Fn(&HashSet<u64>) -> Vec<File> + Sync);

/// What a turn did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Done {
    /// Ends that came in.
    pub joined: usize,
    /// Ends that were opened to what others redirect.
    pub opened: usize,
    /// Ends that left the sockhash.
    pub left: usize,
    /// Ends that may come in but could not, by why.
    pub refused: BTreeMap<&'static str, usize>,
}

/// Who brings ends in on one node.
#[expect(missing_debug_implementations, reason = "aya's maps have none")]
pub struct Late {
    pins: Pins,
    config: Config,
    runner: Runner,
    ends: Rows<MapData, u64, EndRow>,
    proc: PathBuf,
    /// Joined, and not seen at rest yet.
    resting: Resting,
    /// Closed, and not out yet.
    leaving: BTreeSet<u64>,
    /// How many pods had ends to bring in or to open at the last pass.
    pods: usize,
    /// Whether the last pass brought ends in and left others for the next one.
    more: bool,
    /// Who would be alone in the sockhash, as of the last pass.
    alone: Alone,
    calm: Calm,
    /// Since when nothing came of waiting.
    waits_since: Instant,
    /// Who was off at the last pass.
    off: Off,
    /// Whether there may be rows of adopted ends.
    adopted: bool,
    /// Whether anybody new comes in.
    joins: bool,
    still: Option<Still>,
    stood: Vec<Stood>,
}

impl Late {
    /// Opens what is pinned. `proc`: where all of the node's processes can be seen (`/proc` of the
    /// first PID namespace); where that cannot be had, ends that come in late only send by redirection.
    ///
    /// # Errors
    ///
    /// As for opening a pinned map or program; [`Error::Late`] where the kernel offers too little.
    pub fn open(pins: &Pins, proc: PathBuf) -> Result<Self, Error> {
        let config = loaded::config(pins).ok_or_else(|| pins.missing(ENDS))?;
        if !config.offsets.sees_rest() {
            return Err(Error::late(
                "this kernel's BTF lacks what has to be looked at",
            ));
        }
        let map = Map::HashMap(open(pins, ENDS)?);
        Ok(Self {
            config,
            runner: Runner::open(pins)?,
            ends: Rows::try_from(map).map_err(map_error(ENDS, "open"))?,
            pins: pins.clone(),
            resting: Resting::new(proc.clone(), Callers::open(pins)?),
            proc,
            leaving: BTreeSet::new(),
            pods: 1,
            more: false,
            alone: Alone::default(),
            calm: Calm::default(),
            waits_since: Instant::now(),
            off: Off::default(),
            adopted: true,
            joins: true,
            still: None,
            stood: Vec::new(),
        })
    }

    /// Brings nobody in any more; who is in stays, is opened, and is let out as before.
    #[must_use]
    pub fn without_joins(mut self) -> Self {
        self.joins = false;
        self
    }

    /// Looks for queues that stand still for so long.
    #[must_use]
    pub fn with_tripwire(mut self, after: Duration) -> Self {
        self.still = Some(Still::new(after, self.proc.clone()));
        self
    }

    /// Ends whose queues stand still, each told once until it reads again.
    pub fn stood(&mut self) -> Vec<Stood> {
        std::mem::take(&mut self.stood)
    }

    /// Why what comes in late is not redirected to here, if so.
    #[must_use]
    pub fn blind(&self) -> Option<String> {
        rest::require_sight(&self.proc).err().map(|e| e.to_string())
    }

    /// True while a turn is due soon, told or not: somebody is waited for.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.resting.is_empty() || !self.leaving.is_empty()
    }

    /// When the next turn is due, told or not; `None` where nobody is waited for. Less and less often
    /// while nothing comes of it: a reader may stand still for hours.
    #[must_use]
    pub fn next_turn(&self) -> Option<Duration> {
        const RARELY: Duration = Duration::from_millis(250);
        let pause = self.waits_since.elapsed() / 64;
        self.waits().then(|| pause.clamp(SOON, RARELY))
    }

    /// True where more ends qualify than the last pass could take: the next one is due at once.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// True where a pass would find nothing to do, because nothing has happened since the last one,
    /// which found nothing.
    ///
    /// # Errors
    ///
    /// As for reading a pinned map.
    pub fn is_calm(&self) -> Result<bool, Error> {
        if self.waits() || self.still.as_ref().is_some_and(Still::suspects) {
            return Ok(false);
        }
        let longest = self.still.as_ref().map(Still::longest);
        self.calm.holds(&self.pins, longest)
    }

    /// Does what the programs told of, and goes on with what was begun.
    ///
    /// # Errors
    ///
    /// As for reading a pinned map and running the program.
    pub fn turn(&mut self, told: &Told, namespaces: Namespaces<'_>) -> Result<Done, Error> {
        let mut done = Done::default();
        let mut joins = Fair::new(self.pods);
        for &cookie in told.joins.iter().filter(|_| self.joins) {
            if let Ok(row) = self.ends.get(&cookie, 0)
                && row.joined == 0
                && row.alone == 0
                && !self.off.holds(&row, &self.ends)
            {
                joins.add(cookie, row);
                if let Ok(peer) = self.ends.get(&row.peer, 0)
                    && peer.alone != 0
                {
                    joins.add(row.peer, peer);
                }
            }
        }
        // Of those that are too many the next pass knows.
        let ends = joins.take();
        self.join(&ends, namespaces, &mut done)?;
        self.close(&told.leaves)?;
        self.go_on(&mut done)?;
        Ok(done)
    }

    /// Puts ends into the sockhash, and notes them as not seen at rest.
    fn join(
        &mut self,
        ends: &[(u64, EndRow)],
        namespaces: Namespaces<'_>,
        done: &mut Done,
    ) -> Result<(), Error> {
        if ends.is_empty() {
            return Ok(());
        }
        let order = |what| {
            let order =
                move |(cookie, row): &(u64, EndRow)| (row.netns, order::of(what, *cookie, row));
            ends.iter().map(order).collect::<Vec<_>>()
        };
        // Who holds them now may be inside a read when they are put in.
        let seen = self.runner.run_in(namespaces, order(what::LOOK))?;
        self.resting.note(&seen);
        let answers = self.runner.run_in(namespaces, order(what::JOIN))?;
        for answer in answers {
            if answer.result == DONE {
                done.joined += 1;
                self.resting.add(answer.cookie);
                self.waits_since = Instant::now();
            } else {
                *done.refused.entry(why(&answer)).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Lets nobody redirect to these ends any more, so that they can leave.
    fn close(&mut self, cookies: &[u64]) -> Result<(), Error> {
        let new: Vec<u64> = cookies
            .iter()
            .copied()
            .filter(|&cookie| self.leaving.insert(cookie))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        self.waits_since = Instant::now();
        for cookie in new {
            self.resting.forget(cookie);
            self.runner
                .run(&mut order::by_cookie(what::CLOSE, cookie))?;
        }
        // What was decided before has begun its send by now.
        crate::switch::settle(&self.pins)
    }

    /// Opens who was seen at rest, lets out who may go.
    fn go_on(&mut self, done: &mut Done) -> Result<(), Error> {
        for cookie in self.resting.rested()? {
            self.runner.run(&mut order::by_cookie(what::OPEN, cookie))?;
            done.opened += 1;
        }
        let (out, _) = leave::let_out(&self.pins, &self.runner, &mut self.leaving)?;
        done.left += out;
        if done.opened + done.left > 0 {
            self.waits_since = Instant::now();
        }
        Ok(())
    }

    /// Finds connections that are older than the programs, of which there are no rows, and has
    /// them watched.
    ///
    /// # Errors
    ///
    /// As [`Self::turn`].
    pub fn adopt(&mut self, namespaces: Namespaces<'_>) -> Result<Adopted, Error> {
        let adopted = adopt::run(&self.pins, &self.runner, namespaces);
        self.adopted |= adopted.as_ref().map_or(true, |adopted| adopted.found > 0);
        sys::give_memory_back();
        adopted
    }

    /// Takes out the rows of connections that were found so and have ended; how many.
    ///
    /// # Errors
    ///
    /// As [`Self::turn`].
    pub fn forget(&mut self, namespaces: Namespaces<'_>) -> Result<usize, Error> {
        if !self.adopted {
            return Ok(0);
        }
        let (ended, left) = adopt::forget(&self.pins, &self.runner, namespaces)?;
        self.adopted = left > 0;
        Ok(ended)
    }
}

/// Has the keeper look at every end now, not in two seconds; without a keeper nothing happens.
///
/// # Errors
///
/// As for opening a pinned program and running it.
pub fn ask_for_pass(pins: &Pins) -> Result<(), Error> {
    Runner::open(pins)?.run(&mut order::by_cookie(what::PASS, 0))
}

/// Why an order was not carried out.
fn why(answer: &Order) -> &'static str {
    let reason = Reason::of(answer.result);
    reason.unwrap_or(Reason::NotInserted).name()
}

/// How long a keeper waits between two turns while somebody is waited for.
pub const SOON: Duration = Duration::from_millis(5);
